"""Headers of safetensors files: read, cached, and broken in every way."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from easel_contract.model_files import Header, WeightsFolder, embedding_size, read_header


def packed(header: object, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x10",
        packed({}, length=0),
        packed({}, length=2**40),
        packed({}, length=50),
        packed([]),
        packed("x"),
        struct.pack("<Q", 4) + b"{{{{",
        struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_what_is_no_safetensors_file_is_an_error_and_hides_no_other(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    (tmp_path / "good.safetensors").write_bytes(packed({"a": {"shape": [1]}}))
    with pytest.raises(ValueError, match=r"broken\.safetensors"):
        read_header(path)
    files = WeightsFolder(tmp_path).files()
    assert [(file.name, file.header is None) for file in files] == [("broken", True), ("good", False)]


def test_odd_entries_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(
        packed(
            {"a": {"shape": [2, 3]}, "b": {"shape": "x"}, "c": 1, "d": {"shape": [1.5]}, "__metadata__": [1]}
        )
    )
    assert read_header(path) == Header({"a": (2, 3)}, {})


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "one.safetensors"
    path.parent.mkdir()
    path.write_bytes(packed({"a": {"shape": [1]}}))
    folder = WeightsFolder(tmp_path)
    (first,) = folder.files()
    (again,) = folder.files()
    assert again.header is first.header
    path.write_bytes(packed({"a": {"shape": [1, 2]}}))
    (changed,) = folder.files()
    assert changed.header == Header({"a": (1, 2)})
    path.unlink()
    assert folder.files() == []


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert WeightsFolder(tmp_path / "nothing").files() == []


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ({"emb_params": (4, 768)}, (768, 4)),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, (2048, 2)),
        ({"<cat>": (768,)}, (768, 1)),
        ({"<cat>": (3, 1024)}, (1024, 3)),
        ({}, None),
        ({"conv": (1, 2, 3)}, None),
        ({f"unet.{number}": (4, 4) for number in range(600)}, None),
    ],
)
def test_an_embedding_is_told_by_its_shapes(
    shapes: dict[str, tuple[int, ...]], size: tuple[int, int] | None
) -> None:
    assert embedding_size(Header(shapes)) == size
