"""LoRAs and hypernetworks by the names that prompts have for them."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from easel_contract.errors import ContractError
from easel_contract.hashes import HashBook
from easel_contract.limits import Limits
from easel_contract.needs import needs_of
from easel_contract.network_files import NetworkFiles
from easel_contract.requests import TXT2IMG_PATH, parse_request
from easel_contract.requests.generation import GenerationRequest


def write(path: Path, alias: str = "", body: bytes = b"") -> Path:
    header = {"__metadata__": {"ss_output_name": alias}} if alias else {}
    raw = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    lora = tmp_path / "Lora"
    write(lora / "ink.safetensors", "Ink v2")
    write(lora / "anime" / "soft.safetensors", "shared")
    write(lora / "real" / "soft.safetensors", "shared")
    write(lora / "Case.safetensors")
    write(lora / "case.safetensors")
    write(lora / "Ink v2 copy.safetensors", "Ink v2 copy")
    (lora / "old.pt").write_bytes(b"pickle")
    (lora / "both.ckpt").write_bytes(b"pickle")
    write(lora / "both.safetensors")
    write(tmp_path / "hypernetworks" / "haze.safetensors")
    (tmp_path / "hypernetworks" / "fog.pt").write_bytes(b"pickle")
    return tmp_path


def found(files: NetworkFiles, name: str, kind: str = "lora") -> str:
    return files.find(kind, name, field="prompt").path.name


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("ink", "ink.safetensors"),
        ("INK", "ink.safetensors"),
        ("ink.safetensors", "ink.safetensors"),
        ("Ink v2", "ink.safetensors"),
        ("ink V2", "ink.safetensors"),
        ("anime/soft", "soft.safetensors"),
        ("real\\soft", "soft.safetensors"),
        ("Case", "Case.safetensors"),
        ("case", "case.safetensors"),
        ("both", "both.safetensors"),
    ],
)
def test_every_way_to_name_a_file(models: Path, asked: str, path: str) -> None:
    assert found(NetworkFiles(models), asked) == path


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("soft", "fits several files in models/Lora: anime/soft, real/soft"),
        ("shared", "fits several files"),
        ("CASE", "fits several files"),
        ("old", r"old\.pt is a pickle; set EASEL_ALLOW_PICKLE"),
        (
            "nobody",
            r"is not in models/Lora or LyCORIS; there are: both, Case, case, ink, Ink v2 copy, soft$",
        ),
        ("../Lora/ink", "is not in models/Lora"),
    ],
)
def test_what_fits_none_or_several_is_refused(models: Path, asked: str, said: str) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        NetworkFiles(models).find("lora", asked, field="hr_prompt")
    assert (caught.value.field, caught.value.status) == ("hr_prompt", 422)


def test_pickles_count_where_they_are_allowed(models: Path) -> None:
    files = NetworkFiles(models, allow_pickle=True)
    assert found(files, "old") == "old.pt"
    assert found(files, "fog", "hypernet") == "fog.pt"
    assert [file.name for file in files.files("hypernet")] == ["fog", "haze"]
    assert [file.name for file in NetworkFiles(models).files("hypernet")] == ["haze"]


def test_folders_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="there are: none"):
        NetworkFiles(tmp_path).find("lora", "a", field="prompt")


def test_the_lycoris_folder_is_looked_into_too(models: Path) -> None:
    folder = models / "LyCORIS"
    for name in ("real/glow", "anime/glow", "ink", "shade"):
        write(folder / f"{name}.safetensors", "Ink v2" if name == "shade" else "")
    (folder / "old.safetensors").write_bytes(b"broken")
    files = NetworkFiles(models)
    assert files.find("lora", "shade", field="prompt").path == folder / "shade.safetensors"
    assert files.find("lora", "anime/glow", field="prompt").path == folder / "anime" / "glow.safetensors"
    for clash in ("ink", "Ink v2"):
        assert files.find("lora", clash, field="prompt").folder == "Lora", clash
    assert files.find("lora", "old", field="prompt").folder == "LyCORIS", "the other is a pickle"
    with pytest.raises(ContractError, match=r"fits several files in models/LyCORIS: anime/glow, real/glow$"):
        files.find("lora", "GLOW.safetensors", field="prompt")
    assert [file.place for file in files.files("lora")][-5:] == [
        "anime/glow",
        "ink",
        "old",
        "real/glow",
        "shade",
    ]
    with pytest.raises(ContractError, match="is not in models/hypernetworks;"):
        files.find("hypernet", "glow", field="prompt")


def test_a_list_has_each_name_once_the_lora_folder_first(models: Path) -> None:
    for name in ("able", "ink", "old"):
        write(models / "LyCORIS" / f"{name}.safetensors")
    listed = NetworkFiles(models).listed("lora")
    assert [file.name for file in listed][-3:] == ["soft", "able", "old"]
    [ink] = [file for file in listed if file.name == "ink"]
    assert ink.path.parent.name == "Lora"
    listed = NetworkFiles(models, allow_pickle=True).listed("lora")
    assert [file.path.name for file in listed if file.name in ("both", "old")] == [
        "both.safetensors",
        "old.pt",
    ]


def test_a_hash_is_of_the_body_and_kept_apart_from_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "Lora" / "a.safetensors", "one", b"weights")
    files = NetworkFiles(tmp_path, hashes=HashBook(tmp_path / "hashes.json"))
    assert files.known_hash(path) == ""
    file = files.find("lora", "a", field="prompt")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert files.hash_soon(file).result(60) == expected
    known = NetworkFiles(tmp_path, hashes=HashBook(tmp_path / "hashes.json")).known_hash(path)
    assert known == expected[:12]
    write(path, "a new title", b"weights")
    assert files.known_hash(path) == ""
    assert files.hash_soon(file).result(60) == expected
    path.unlink()
    assert files.hash_soon(file).result(60) == ""


def request(**body: object) -> GenerationRequest:
    made = parse_request(TXT2IMG_PATH, json.dumps(body).encode(), Limits())
    assert made is not None
    return made


def test_networks_join_the_need_of_a_checkpoint() -> None:
    def models(stored: dict[str, object] | None = None, **body: object) -> tuple[str, ...]:
        return needs_of(request(**body), str, stored).models

    assert models(prompt="a <lyco:b:1> <lora:a:0.5> <hypernet:h:1>") == (
        "checkpoint: hypernet:h lora:a lora:b",
        "checkpoint:",
    )
    assert models(prompt="a <lora:a:1>", disable_extra_networks=True) == ("checkpoint:",)
    assert models({"sd_hypernetwork": "h"}, prompt="a")[0] == "checkpoint: hypernet:h"
    assert models({"sd_hypernetwork": "None"}, prompt="a") == ("checkpoint:",)
    own = {"sd_lora": "mine"}
    assert models({"sd_lora": "stored"}, prompt="a", override_settings=own)[0] == "checkpoint: lora:mine"
