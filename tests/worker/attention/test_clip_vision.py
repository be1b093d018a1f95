"""CLIP's image encoders: one in every form, seen by transformers' own code and by ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor

from easel_worker.diffusion.attention.clip_vision import ClipVision, find_clip_vision, load_clip_vision
from easel_worker.diffusion.attention.clip_vision_names import vision_config, vision_sources
from easel_worker.diffusion.attention.pixels import clip_pixels
from easel_worker.diffusion.errors import CheckpointError

from ...small_models.ip_adapter import clip_vision, write_clip_file
from .conftest import CPU

FLOAT = torch.float32


@pytest.mark.parametrize("size", [(90, 60), (61, 90), (28, 28), (28, 57), (13, 40)])
def test_pictures_are_prepared_as_by_transformers(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    processor = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=28)
    expected = processor(Image.fromarray(pixels), return_tensors="pt").pixel_values
    torch.testing.assert_close(clip_pixels(pixels, 28), expected, atol=1e-5, rtol=1e-5)


def test_a_mask_hides_pixels(image: NDArray[np.uint8]) -> None:
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[:, 45:] = 255
    seen = clip_pixels(image, 28, mask)
    assert seen[..., :13].abs().max() == 0
    assert torch.equal(seen[..., 15:], clip_pixels(image, 28)[..., 15:])


@pytest.mark.parametrize("form", ["folder", "file", "openclip", "pickle"])
def test_every_form_sees_the_same(
    form: str, clip: ClipVision, clip_folder: Path, image: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = clip_folder
    if form == "pickle":
        path = tmp_path / "clip_h.pth"
        torch.save(clip_vision().state_dict(), path)
    elif form != "folder":
        path = write_clip_file(tmp_path / "clip_h.safetensors", openclip=form == "openclip")
    loaded = load_clip_vision(path, device=CPU, dtype=FLOAT, allow_pickle=True)
    assert (loaded.name, loaded.path) == ("clip_h", path)
    view = loaded.look(image)
    theirs, pixels = clip_vision(), clip_pixels(image, 28)
    output = theirs(pixels, output_hidden_states=True)
    torch.testing.assert_close(view.projected, output.image_embeds)
    torch.testing.assert_close(view.hidden, output.hidden_states[-2])
    blank = theirs(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(view.blank, blank)
    assert loaded.nbytes == clip.nbytes > sum(p.nbytes for p in theirs.parameters())
    assert loaded.to(CPU) is loaded


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1024, 24, 4096, 768), {"num_attention_heads": 16, "hidden_act": "quick_gelu"}),
        ((1280, 32, 5120, 1024), {"num_attention_heads": 16, "hidden_act": "gelu"}),
        ((1664, 48, 8192, 1280), {"num_attention_heads": 16, "hidden_act": "gelu"}),
    ],
    ids=["ViT-L", "ViT-H", "ViT-bigG"],
)
@pytest.mark.parametrize("openclip", [False, True])
def test_the_published_encoders_are_known_by_their_shapes(
    shape: tuple[int, int, int, int], expected: dict[str, object], openclip: bool
) -> None:
    width, layers, inner, projected = shape
    shapes: dict[str, tuple[int, ...]]
    if openclip:
        shapes = {
            "visual.proj": (width, projected),
            "visual.positional_embedding": (257, width),
            "visual.conv1.weight": (width, 3, 14, 14),
        }
        shapes |= {f"visual.transformer.resblocks.{i}.mlp.c_fc.weight": (inner, width) for i in range(layers)}
    else:
        shapes = {
            "visual_projection.weight": (projected, width),
            "vision_model.embeddings.position_embedding.weight": (257, width),
            "vision_model.embeddings.patch_embedding.weight": (width, 3, 14, 14),
        }
        shapes |= {f"vision_model.encoder.layers.{i}.mlp.fc1.weight": (inner, width) for i in range(layers)}
    config = vision_config(shapes, vision_sources(shapes))
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "projection_dim": projected,
        "image_size": 224,
        "patch_size": 14,
    }
    assert config == sizes | expected


def test_where_an_encoder_lies(clip_folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "annotators" / "clip_vision"
    with pytest.raises(FileNotFoundError, match=r"clip_vision/clip_g with config\.json"):
        find_clip_vision(tmp_path, "clip_g")
    place.mkdir(parents=True)
    (place / "clip_g.pth").touch()
    assert find_clip_vision(tmp_path, "clip_g") == place / "clip_g.pth"
    with pytest.raises(CheckpointError, match=r"clip_g\.pth is a pickle"):
        find_clip_vision(tmp_path, "clip_g", allow_pickle=False)
    (place / "clip_g.safetensors").touch()
    assert find_clip_vision(tmp_path, "clip_g") == place / "clip_g.safetensors"
    (place / "clip_h").symlink_to(clip_folder)
    assert find_clip_vision(tmp_path, "clip_h") == place / "clip_h"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("foreign", "expected an image encoder of CLIP"),
        ("missing", "weights are missing in it.*: vision_model.post_layernorm.weight"),
        ("shape", "post_layernorm.weight makes a weight of shape"),
        ("pickle", "EASEL_ALLOW_PICKLE"),
        ("nothing", "does not exist"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(change: str, told: str, tmp_path: Path) -> None:
    path = write_clip_file(tmp_path / "clip_h.safetensors")
    weights = load_file(path)
    name = "vision_model.post_layernorm.weight"
    if change == "foreign":
        weights = {"conv_in.weight": torch.zeros(1)}
    elif change == "missing":
        del weights[name]
    elif change == "shape":
        weights[name] = torch.zeros(3)
    save_file(weights, path)
    if change == "pickle":
        torch.save(weights, path := tmp_path / "clip_h.pth")
    elif change == "nothing":
        path = tmp_path / "clip_g.safetensors"
    with pytest.raises(CheckpointError, match=told) as raised:
        load_clip_vision(path, device=CPU, dtype=FLOAT)
    assert str(path) in str(raised.value)
