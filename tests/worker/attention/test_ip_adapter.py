"""IP-Adapter files: both forms, every kind, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.attention.clip_vision import ClipView, ClipVision
from easel_worker.diffusion.attention.ip_adapter import IPAdapter, find_kind, load_ip_adapter
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import CheckpointError, JobError

from ...small_models.ip_adapter import PROJECTED, WIDTH, Kind, Tensors, ip_adapter, write_flat, write_pickle
from .conftest import CPU


def load(path: Path, *, allow_pickle: bool = False) -> IPAdapter:
    return load_ip_adapter(path, device=CPU, dtype=torch.float32, allow_pickle=allow_pickle)


@pytest.fixture(scope="module")
def weights(checkpoint: Checkpoint) -> Tensors:
    return ip_adapter(checkpoint.unet)


@pytest.mark.parametrize(
    ("kind", "tokens", "width"), [("base", 4, PROJECTED), ("plus", 6, WIDTH), ("full", 5, WIDTH)]
)
def test_both_forms_of_every_kind(
    kind: Kind,
    tokens: int,
    width: int,
    checkpoint: Checkpoint,
    clip: ClipVision,
    image: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    weights = ip_adapter(checkpoint.unet, kind)
    flat = load(write_flat(weights, tmp_path / "one.safetensors"))
    pickled = load(write_pickle(weights, tmp_path / "other.bin"), allow_pickle=True)
    view = clip.look(image)
    made, same = flat.embed([view]), pickled.embed([view])
    assert made.shown.shape == made.blank.shape == (1, tokens, 32)
    assert torch.equal(made.shown, same.shown)
    assert torch.equal(made.blank, same.blank)
    assert (flat.kind, flat.name, flat.width, flat.context) == (kind, "one", width, 32)
    assert flat.nbytes == sum(tensor.nbytes for tensor in weights.values())
    assert flat.to(CPU) is flat
    with pytest.raises(JobError, match=rf"args\[0\]: one takes {width} features .* this one gives 3"):
        flat.embed([ClipView(*(torch.zeros(1, *size) for size in ((3,), (5, 3), (5, 3))))], field="args[0]")


def test_faces_are_taken_as_embeddings_only(
    checkpoint: Checkpoint, clip: ClipVision, image: NDArray[np.uint8], tmp_path: Path, weights: Tensors
) -> None:
    adapter = load(write_flat(ip_adapter(checkpoint.unet, "faceid"), tmp_path / "faceid.safetensors"))
    assert adapter.kind == "faceid"
    with pytest.raises(JobError, match=r"args\[0\]: faceid takes .*face recogniser.*ipadapter_input"):
        adapter.embed([clip.look(image)], field="args[0]")
    faces = torch.randn(2, 512, generator=torch.Generator().manual_seed(0))
    tokens = adapter.embed_faces(faces)
    assert tokens.shown.shape == (1, 4, 32)
    each = [adapter.embed_faces(face).shown for face in faces]
    torch.testing.assert_close(tokens.shown, (each[0] + each[1]) / 2)
    with pytest.raises(JobError, match="takes no face embeddings of 3 features, but of 512"):
        adapter.embed_faces(torch.zeros(3))
    plain = load(write_flat(weights, tmp_path / "plain.safetensors"))
    with pytest.raises(JobError, match=r"plain takes no face embeddings .* but pictures"):
        plain.embed_faces(faces)


def drop(weights: Tensors, *names: str) -> Tensors:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(names)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: drop(w, "ip_adapter."), "it is no IP-Adapter"),
        (lambda w: drop(w, "image_proj."), "of no known kind; its weights begin with: none"),
        (lambda w: drop(w, "image_proj.norm"), r"missing in image_proj\.\*: norm\.bias, norm\.weight"),
        (
            lambda w: {**w, "image_proj.norm.bias": torch.zeros(3)},
            r"image_proj\.norm\.bias makes a weight of shape \(3,\), .* \(32,\)",
        ),
        (lambda w: drop(w, "ip_adapter.1.to_v"), r"ip_adapter\.1\.to_k_ip\.weight and ip_adapter\.1\.to_v"),
        (
            lambda w: {**w, "image_proj.perceiver_resampler.proj_in.weight": torch.zeros(3, 3)},
            "FaceID Plus, which needs a face recogniser",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(change: Any, told: str, weights: Tensors, tmp_path: Path) -> None:
    path = write_flat(change(weights), tmp_path / "broken.safetensors")
    with pytest.raises(CheckpointError, match=told) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_instant_id_is_refused_by_what_it_takes() -> None:
    shapes = {
        "image_proj.latents": (1, 16, 1280),
        "image_proj.proj_in.weight": (1280, 512),
        "ip_adapter.1.to_k_ip.weight": (640, 2048),
    }
    with pytest.raises(CheckpointError, match="InstantID"):
        find_kind(shapes)


def test_a_pickle_is_read_only_where_it_may(weights: Tensors, tmp_path: Path) -> None:
    path = write_pickle(weights, tmp_path / "pickled.bin")
    with pytest.raises(CheckpointError, match="EASEL_ALLOW_PICKLE"):
        load(path)
