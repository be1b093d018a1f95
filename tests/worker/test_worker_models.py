"""The model library and the starter model."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline

import easel_shapes
from easel_contract.checkpoints import Library, ModelFile
from easel_contract.errors import ContractError
from easel_shapes.companions import COMPANIONS
from easel_worker.diffusion.tokenizer import clip_tokenizer
from easel_worker.models.starter import (
    NAME,
    ensure_checkpoint,
    ensure_companions,
    install_shapes,
    install_starter,
)


def add(folder: Path, name: str, weights: bytes = b"") -> Path:
    model = folder / name
    (model / "unet").mkdir(parents=True)
    if weights:
        (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    (model / "model_index.json").write_text("{}")
    return model


@pytest.mark.parametrize(
    "asked",
    [
        "dreamy_v2",
        "DREAMY_V2",
        " dreamy_v2 ",
        "dreamy_v2.safetensors",
        "Dreamy_v2.ckpt",
        "dreamy_v2 [6ce0161689]",
        "dreamy_v2.safetensors [6ce0161689]",
    ],
)
def test_a_checkpoint_is_found_by_every_usual_spelling(tmp_path: Path, asked: str) -> None:
    add(tmp_path, "dreamy_v2")
    add(tmp_path, "other.v1")

    assert Library(tmp_path).resolve(asked).name == "dreamy_v2"


def test_a_dot_in_a_name_is_no_suffix_and_exact_letters_win(tmp_path: Path) -> None:
    for name in ("other.v1", "Twin", "twin"):
        add(tmp_path, name)
    library = Library(tmp_path)

    assert library.resolve("other.v1").name == "other.v1"
    assert library.resolve("twin").name == "twin"
    with pytest.raises(ContractError):
        library.resolve("TWIN")


def test_an_unknown_checkpoint_is_a_422_that_names_the_known_ones(tmp_path: Path) -> None:
    for number in range(25):
        add(tmp_path, f"model-{number:02}")

    with pytest.raises(ContractError) as caught:
        Library(tmp_path).resolve("deliberate_v2.safetensors")

    assert (caught.value.status, caught.value.field) == (422, "sd_model_checkpoint")
    assert "deliberate_v2" in str(caught.value)
    assert "model-00" in str(caught.value)
    assert "and 5 more" in str(caught.value)


@pytest.mark.parametrize("asked", ["..", "../outside", "/etc", "", ".", "inside/../../outside"])
def test_no_spelling_leaves_the_directory(tmp_path: Path, asked: str) -> None:
    add(tmp_path, "outside")
    folder = tmp_path / "models"
    add(folder, "inside")

    with pytest.raises(ContractError):
        Library(folder).resolve(asked)


def test_new_and_removed_checkpoints_are_noticed(tmp_path: Path) -> None:
    library = Library(tmp_path / "models")
    assert library.names() == ()
    model = add(tmp_path / "models", "late")
    assert library.resolve("late").name == "late"

    (model / "model_index.json").unlink()  # the directory itself does not change by this

    with pytest.raises(ContractError):
        library.resolve("late")


def test_a_folder_that_is_still_being_copied_is_found_when_it_is_complete(tmp_path: Path) -> None:
    library = Library(tmp_path)
    (tmp_path / "slow").mkdir()
    with pytest.raises(ContractError):
        library.resolve("slow")

    (tmp_path / "slow" / "model_index.json").write_text("{}")

    assert library.resolve("slow").name == "slow"


def test_the_hash_is_of_the_unets_weights_and_follows_them(tmp_path: Path) -> None:
    model = add(tmp_path, "one", b"weights")
    library = Library(tmp_path)
    resolved = library.resolve("one")
    first = library.short_hash(resolved)

    (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"other weights")

    assert first == hashlib.sha256(b"weights").hexdigest()[:10]
    assert library.short_hash(resolved) != first
    assert library.short_hash(Library(tmp_path).resolve("one")) != first
    assert library.short_hash(ModelFile("none", tmp_path / "none", (0, 0))) == ""


def test_the_starter_is_built_only_into_an_empty_directory(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        add(folder.parent, folder.name)

    for _ in range(2):
        ensure_checkpoint(Library(tmp_path / "fresh"), build)
    add(tmp_path / "used", "mine")
    ensure_checkpoint(Library(tmp_path / "used"), build)

    assert built == [tmp_path / "fresh" / NAME]


def test_a_shipped_model_without_its_companions_is_given_them_once(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "Stable-diffusion"
    target = folder / NAME

    def there() -> list[str]:
        return sorted(path.name for path in (tmp_path / "models").glob("*/*.safetensors"))

    ensure_companions(folder)
    assert there() == [], "no shipped model"
    install_shapes(target)  # as releases before the companions did
    ensure_companions(folder)
    assert there() == sorted(COMPANIONS)
    gone = tmp_path / "models" / "Lora" / "easel-shapes-arrow.safetensors"
    gone.unlink()
    ensure_companions(folder)
    assert not gone.exists(), "the operator has deleted it"


def test_a_fresh_directorys_companions_do_not_come_back_either(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "Stable-diffusion"
    install_starter(folder / NAME)
    gone = tmp_path / "models" / "ControlNet" / "easel-shapes-edges.safetensors"
    gone.unlink()
    ensure_companions(folder)
    assert not gone.exists()


def test_companions_are_for_the_shipped_weights_and_for_folders_that_can_be_written_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "models" / "Stable-diffusion"
    weights = folder / NAME / "unet" / "diffusion_pytorch_model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"another model of this name")
    ensure_companions(folder)
    assert not (tmp_path / "models" / "Lora").exists()
    shutil.copyfile(easel_shapes.model_folder() / "unet" / weights.name, weights)
    (tmp_path / "models" / "ControlNet").write_bytes(b"a file in the place of the folder")
    (tmp_path / "models" / "Lora").write_bytes(b"another")
    ensure_companions(folder)
    assert "cannot be put beside it" in caplog.text


BUILD = """
import os, sys, pathlib
from easel_contract.checkpoints import Library
from easel_worker.models.starter import ensure_checkpoint

def build(folder):
    print("building", flush=True)
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")

ready, go = os.pipe()
workers = []
for _ in range(3):
    worker = os.fork()
    if worker == 0:
        os.close(go)
        os.read(ready, 1)  # returns to all of them when the last writing end is closed
        ensure_checkpoint(Library(pathlib.Path(sys.argv[1])), build)
        os._exit(0)
    workers.append(worker)
os.close(go)
sys.exit(any(os.waitpid(worker, 0)[1] for worker in workers))
"""
"""Three workers in their own processes, which begin at the same moment; what they import is imported once."""


def test_the_shipped_model_is_installed_whole_and_in_both_forms(tmp_path: Path) -> None:
    library = Library(tmp_path / "models" / "Stable-diffusion")
    mine = tmp_path / "models" / "Lora" / "easel-shapes-arrow.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    ensure_checkpoint(library)

    (model,) = library.models()
    assert model.name == "easel-shapes"
    assert mine.read_bytes() == b"mine"
    beside = sorted(path.name for path in (tmp_path / "models").glob("*/*.safetensors"))
    assert beside == sorted(COMPANIONS)
    pipeline = StableDiffusionPipeline.from_pretrained(str(model.path), local_files_only=True)
    assert pipeline.tokenizer("a red circle").input_ids == clip_tokenizer()("a red circle").input_ids
    assert (model.path / "easel-shapes.safetensors").stat().st_size < 24_000_000


def test_a_listing_does_not_read_large_weights_for_their_hash(tmp_path: Path) -> None:
    add(tmp_path, "one", b"weights")
    library = Library(tmp_path)
    (model,) = library.models()

    assert library.sha256(model, at_most=6) == ""
    assert library.sha256(model, at_most=7) == hashlib.sha256(b"weights").hexdigest()
    assert library.sha256(model, at_most=0) == library.sha256(model), "known from now on"


def test_workers_that_start_together_build_the_starter_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.split() == ["building"]
