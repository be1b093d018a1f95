"""Single files beside diffusers folders: which are listed, and all ways to name them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from easel_contract.checkpoints import INDEX, STARTER, Library
from easel_contract.errors import ContractError

WEIGHTS = bytes(range(256)) * 4600  # more than the piece that the old hash reads, which begins at 1 MiB
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
OLD = hashlib.sha256(WEIGHTS[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]


def write(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write(folder / "anime" / "dreamy_v2.safetensors", WEIGHTS)
    write(folder / "plain.safetensors", b"plain")
    write(folder / "real" / "photo" / INDEX, b"{}")
    write(folder / "real" / "photo" / "unet" / "diffusion_pytorch_model.safetensors", b"unet")
    return folder


def test_files_and_folders_are_listed_and_what_belongs_to_them_is_not(folder: Path) -> None:
    for name in ("plain.vae.safetensors", "plain.yaml", "notes.txt", ".hidden.safetensors", ".git/a.ckpt"):
        write(folder / name)
    write(folder / "old.ckpt")
    (folder / "round").symlink_to(folder)
    (folder / "nowhere.safetensors").symlink_to(folder / "gone")
    found = {model.name: model for model in Library(folder).models()}
    assert list(found) == ["anime/dreamy_v2", "old", "plain", "real/photo"]
    assert found["anime/dreamy_v2"].title == "anime/dreamy_v2.safetensors"
    assert [model.stem for model in found.values()] == ["dreamy_v2", "old", "plain", "photo"]


@pytest.mark.parametrize(
    "asked",
    [
        "anime/dreamy_v2",
        "anime/dreamy_v2.safetensors",
        f"anime/dreamy_v2.safetensors [{SHA256[:10]}]",
        "dreamy_v2",
        "dreamy_v2.safetensors",
        f"dreamy_v2 [{SHA256[:10]}]",
        "DREAMY_v2.SafeTensors",
        "anime_dreamy_v2",
        SHA256,
        SHA256.upper(),
        SHA256[:10],
        OLD,
    ],
)
def test_a_file_is_found_by_every_name_that_clients_know(folder: Path, asked: str) -> None:
    library = Library(folder)
    assert library.resolve(asked).name == "anime/dreamy_v2"
    assert library.canonical(asked) == "anime/dreamy_v2"


def test_a_folder_below_another_is_found(folder: Path) -> None:
    for asked in ("real/photo", "photo", "real_photo", f"photo [{hashlib.sha256(b'unet').hexdigest()[:10]}]"):
        assert Library(folder).resolve(asked).name == "real/photo"


def test_a_name_that_fits_two_needs_its_folder_or_suffix(folder: Path) -> None:
    write(folder / "other" / "plain.safetensors", b"other")
    write(folder / "plain.ckpt", b"pickle")
    write(folder / STARTER / INDEX, b"{}")
    write(folder / f"{STARTER}.safetensors", b"file")
    library = Library(folder)
    assert library.resolve("plain").file_name == "plain.safetensors"
    assert library.resolve("plain.ckpt").file_name == "plain.ckpt"
    assert library.resolve("plain.safetensors").file_name == "plain.safetensors"
    assert library.resolve("other/plain").file_name == "other/plain.safetensors"
    assert library.resolve(STARTER).file_name == ""
    assert library.resolve(f"{STARTER}.safetensors").file_name == f"{STARTER}.safetensors"
    write(folder / "third" / "photo.safetensors")
    with pytest.raises(ContractError, match="no checkpoint 'photo'"):
        library.resolve("photo")


def test_a_hash_is_kept_for_other_processes_and_follows_the_file(folder: Path, tmp_path: Path) -> None:
    book = tmp_path / "cache" / "hashes.json"
    first = Library(folder, hashes=book)
    model = first.resolve("plain")
    assert first.sha256(model, at_most=4) == ""
    assert first.canonical(hashlib.sha256(b"plain").hexdigest()) != "plain", "not read for a comparison"
    assert first.sha256(model) == hashlib.sha256(b"plain").hexdigest()

    second = Library(folder, hashes=book)
    assert second.sha256(model, at_most=0) == first.sha256(model)
    assert second.canonical(first.short_hash(model)) == "plain"
    second.sha256(second.resolve("photo"))
    assert first.sha256(first.resolve("photo"), at_most=0) == hashlib.sha256(b"unet").hexdigest()

    write(folder / "plain.safetensors", b"other")
    assert second.sha256(model, at_most=0) == ""
    assert second.sha256(model) == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize("stored", [b"", b"[]", b"{", b'{"a": 1}', b"[" * 100_000, b"\xff"])
def test_a_damaged_book_of_hashes_is_no_harm(folder: Path, tmp_path: Path, stored: bytes) -> None:
    library = Library(folder, hashes=write(tmp_path / "hashes.json", stored))
    assert library.short_hash(library.resolve("plain")) == hashlib.sha256(b"plain").hexdigest()[:10]
    again = Library(folder, hashes=tmp_path / "hashes.json")
    assert again.sha256(again.resolve("plain"), at_most=0) == hashlib.sha256(b"plain").hexdigest()


def test_new_bytes_and_a_new_vae_or_yaml_beside_make_another_version(folder: Path) -> None:
    library = Library(folder)
    for name in ("plain", "anime/dreamy_v2"):
        stamps = {library.resolve(name).stamp}
        for suffix in (".vae.safetensors", ".yaml", ".safetensors"):
            write(folder / f"{name}{suffix}", b"new")
            stamps.add(library.resolve(name).stamp)
        assert len(stamps) == 4


def test_a_pickle_is_the_last_default(tmp_path: Path) -> None:
    write(tmp_path / "a.ckpt")
    assert Library(tmp_path).default() == "a"
    write(tmp_path / STARTER / INDEX, b"{}")
    assert Library(tmp_path).default() == STARTER
    write(tmp_path / "zebra.safetensors")
    assert Library(tmp_path).default() == "zebra"


def test_a_removed_file_is_no_error(folder: Path) -> None:
    library = Library(folder)
    model = library.resolve("plain")
    model.path.unlink()
    assert library.sha256(model) == ""
    with pytest.raises(ContractError):
        library.resolve("plain")
