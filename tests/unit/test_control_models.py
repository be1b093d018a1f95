"""Control models in a folder: which are listed, by what names, and all ways to ask for one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from easel_contract.controlnet import ControlFiles
from easel_contract.errors import ContractError

WEIGHTS = bytes(range(256)) * 4600  # more than the piece that the hash reads, which begins at 1 MiB
HASH = hashlib.sha256(WEIGHTS[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]
EMPTY = "e3b0c442"
"""SHA-256 of nothing, which is what a shorter file has there."""


def write(path: Path, data: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ControlNet"
    write(folder / "control_v11p_sd15_Canny.pth", WEIGHTS)
    write(folder / "control_v11p_sd15_canny_small.safetensors")
    write(folder / "t2i" / "t2iadapter_depth_sd15v2.pth")
    write(folder / "sdxl" / "union" / "config.json", b"{}")
    write(folder / "sdxl" / "union" / "diffusion_pytorch_model.safetensors", WEIGHTS)
    return folder


def test_files_and_folders_are_listed_with_their_hashes(folder: Path) -> None:
    for name in ("a.yaml", "notes.txt", ".hidden.safetensors", ".git/a.ckpt"):
        write(folder / name)
    write(folder / "b.ckpt")
    write(folder / "c.bin")
    write(folder / "d.PT")
    (folder / "round").symlink_to(folder)
    (folder / "nowhere.safetensors").symlink_to(folder / "gone")
    assert [file.name for file in ControlFiles(folder).files()] == [
        f"b [{EMPTY}]",
        f"c [{EMPTY}]",
        f"control_v11p_sd15_Canny [{HASH}]",
        f"control_v11p_sd15_canny_small [{EMPTY}]",
        f"d [{EMPTY}]",
        f"t2iadapter_depth_sd15v2 [{EMPTY}]",
        f"union [{HASH}]",
    ]


def test_names_that_several_have_tell_them_apart(folder: Path) -> None:
    write(folder / "union.pth")
    write(folder / "union.safetensors")
    write(folder / "xl" / "union.safetensors")
    files = ControlFiles(folder)
    names = {file.stem: file.path.relative_to(folder).as_posix() for file in files.files()}
    assert {stem: path for stem, path in names.items() if "union" in path} == {
        "union": "union.safetensors",
        "union.pth": "union.pth",
        "sdxl/union": "sdxl/union",
        "xl/union": "xl/union.safetensors",
    }
    for stem, path in names.items():
        assert files.resolve(stem).path == folder / path
    for file in files.files():
        assert files.resolve(file.name) == file


@pytest.mark.parametrize(
    "name",
    [
        f"control_v11p_sd15_Canny [{HASH}]",
        "control_v11p_sd15_Canny [d14c016b]",
        "control_v11p_sd15_Canny",
        "control_v11p_sd15_canny",
        " CONTROL_V11P_SD15_CANNY ",
        "control_v11p_sd15_Canny.pth",
        "control_v11p_sd15_canny.safetensors",
        "sd15_canny",
        "Canny",
    ],
)
def test_all_ways_to_name_a_file(folder: Path, name: str) -> None:
    assert ControlFiles(folder).resolve(name).path == folder / "control_v11p_sd15_Canny.pth"


@pytest.mark.parametrize("name", ["union", "sdxl/union", "Union [00000000]", "nio"])
def test_all_ways_to_name_a_folder(folder: Path, name: str) -> None:
    assert ControlFiles(folder).resolve(name).path == folder / "sdxl" / "union"


def test_a_file_that_was_copied_in_or_replaced_a_moment_ago_is_found(folder: Path) -> None:
    files = ControlFiles(folder)
    with pytest.raises(ContractError):
        files.resolve("tile")
    path = write(folder / "new" / "tile.safetensors")
    assert files.resolve("tile").hash == EMPTY
    path.write_bytes(WEIGHTS)
    assert files.resolve("tile").hash == HASH
    path.unlink()
    with pytest.raises(ContractError):
        files.resolve("tile")


@pytest.mark.parametrize("name", ["openpose", "", " ", "[d14c016b]", "../secret"])
def test_an_unknown_name_is_refused_with_those_there_are(folder: Path, name: str) -> None:
    field = "alwayson_scripts.controlnet.args[1].model"
    with pytest.raises(ContractError, match="there are: control_v11p_sd15_Canny") as refused:
        ControlFiles(folder).resolve(name, field=field)
    assert (refused.value.field, refused.value.status) == (field, 422)


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    files = ControlFiles(tmp_path / "ControlNet")
    assert files.files() == []
    with pytest.raises(ContractError, match="there are: none"):
        files.resolve("canny")
