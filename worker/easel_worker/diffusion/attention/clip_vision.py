"""CLIP's image encoders (Radford et al. 2021), which show pictures to IP-Adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.attention.clip_vision_names import (
    keep_vision,
    vision_config,
    vision_sources,
)
from easel_worker.diffusion.attention.pixels import Pixels, clip_pixels
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import transformers
from easel_worker.diffusion.single_file.fill import Target, fill
from easel_worker.diffusion.single_file.stored import open_weights
from easel_worker.diffusion.skeletons import build_on_meta
from easel_worker.diffusion.weights import load_weights, read_config

_SUFFIXES = (".safetensors", ".pth", ".bin")


@dataclass(frozen=True, eq=False)
class ClipView:
    """What CLIP sees in one picture, and in none.

    projected: (1, projection width), the embedding that is compared with texts. hidden: (1, tokens, width),
    what enters the last layer; ViT-H has 257 tokens. blank: the same of a picture of zeros, CLIP's mean
    colour. float32, on the encoder's device.
    """

    projected: torch.Tensor
    hidden: torch.Tensor
    blank: torch.Tensor


class ClipVision:
    """An image encoder on its device. Lives on the torch thread."""

    def __init__(self, model: Any, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._model = model
        self._blank: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""
        return sum(tensor.nbytes for tensor in (*self._model.parameters(), *self._model.buffers()))

    @property
    def device(self) -> torch.device:
        device: torch.device = self._model.visual_projection.weight.device
        return device

    def to(self, device: torch.device) -> ClipVision:
        """Move it; returns itself."""
        self._model.to(device)
        self._blank = None
        return self

    @torch.inference_mode()
    def look(self, image: Pixels, mask: Pixels | None = None) -> ClipView:
        """Encode an RGB picture (h, w, 3), of which the middle square is seen. mask: (h, w), 0 hides a pixel,
        255 shows it."""
        pixels = clip_pixels(image, self._model.config.image_size, mask)
        projected, hidden = self._encode(pixels)
        if self._blank is None:
            self._blank = self._encode(torch.zeros_like(pixels))[1]
        return ClipView(projected, hidden, self._blank)

    def _encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weight = self._model.visual_projection.weight
        seen = self._model(pixels.to(weight.device, weight.dtype), output_hidden_states=True)
        return seen.image_embeds.float(), seen.hidden_states[-2].float()


def find_clip_vision(models: Path, name: str, *, allow_pickle: bool = True) -> Path:
    """Where an encoder, ``clip_h``, ``clip_g`` or ``clip_vitl``, lies in ``models/annotators/clip_vision``: a
    folder of transformers', or one file.

    Raises:
        FileNotFoundError: there is none; names the places.
        CheckpointError: it is a pickle, and `allow_pickle` is not set.
    """
    folder = models / "annotators" / "clip_vision"
    if (folder / name / "config.json").is_file():
        return folder / name
    for suffix in _SUFFIXES:
        if not (path := folder / f"{name}{suffix}").is_file():
            continue
        if suffix != ".safetensors" and not allow_pickle:
            raise CheckpointError(
                f"{path} is a pickle: set EASEL_ALLOW_PICKLE=true to load it (with torch's restricted"
                " reader), or convert it to .safetensors"
            )
        return path
    raise FileNotFoundError(
        f"CLIP's image encoder is missing: {(folder / name).as_posix()} with config.json and"
        f" model.safetensors, or {name}.safetensors beside it"
    )


def load_clip_vision(
    path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool = False
) -> ClipVision:
    """Load an encoder: a folder of transformers', also of a whole CLIP, or one file with its weights.

    Of a file, the configuration is told by the shapes. Nothing is downloaded.

    Raises:
        CheckpointError: names the file and what is wrong with it.
    """
    if path.is_dir():
        config = read_config(path / "config.json")
        model = _build(config.get("vision_config", config), str(path))
        load_weights(model, path, "model", keep_vision, dtype=dtype, device=device)
    elif path.is_file():
        model = _load_file(path, device=device, dtype=dtype, allow_pickle=allow_pickle)
    else:
        raise CheckpointError(f"{path} does not exist: expected a folder or file with CLIP's image encoder")
    embeddings = model.vision_model.embeddings
    # The one buffer that no file stores (0, 1, 2, …) and that the meta device left empty.
    embeddings.position_ids = torch.arange(embeddings.num_positions, device=device).expand((1, -1))
    model.eval().requires_grad_(False)
    return ClipVision(model, path.stem if path.is_file() else path.name, path)


def _load_file(path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool) -> Any:
    with open_weights(path, device, allow_pickle=allow_pickle) as stored:
        sources = vision_sources(stored.shapes)
        try:
            model = _build(vision_config(stored.shapes, sources), "it")
            fill(model, sources, "", stored, Target(device, dtype))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
    return model


def _build(config: Mapping[str, Any], where: str) -> Any:
    def make() -> Any:
        known = transformers.CLIPVisionConfig.from_dict(dict(config))
        return transformers.CLIPVisionModelWithProjection(known)

    return build_on_meta(make, where)
