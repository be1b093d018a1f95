"""IP-Adapters: a picture beside the prompt (Ye et al. 2023, "IP-Adapter: Text Compatible Image Prompt Adapter
for Text-to-Image Diffusion Models")."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from easel_worker.diffusion.attention.clip_vision import ClipView
from easel_worker.diffusion.attention.projections import (
    Projection,
    build_face,
    build_full,
    build_linear,
    build_resampler,
)
from easel_worker.diffusion.errors import CheckpointError, JobError
from easel_worker.diffusion.single_file.fill import Target, below, fill
from easel_worker.diffusion.single_file.stored import Shapes, Source, StoredWeights, open_weights

Kind = Literal["base", "plus", "full", "faceid"]
"""base: 4 tokens from CLIP's embedding. plus, plus-face: tokens drawn from its hidden layer by a resampler.
full-face: every token of the hidden layer. faceid: tokens from the embedding of a face recogniser."""

_BUILDERS: dict[Kind, Callable[[Shapes], Projection]] = {
    "base": build_linear,
    "plus": build_resampler,
    "full": build_full,
    "faceid": build_face,
}
_PROJECTION = "image_proj."
_FACE_WIDTH = 512
"""Of ArcFace's embeddings, which no CLIP has as its width."""
_NAMED_AT_MOST = 5


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """A picture as tokens beside the prompt's, and no picture.

    shown: (1 or images, tokens, context width), one for all of a batch or each image's own. blank: likewise,
    (1, …).
    """

    shown: torch.Tensor
    blank: torch.Tensor


@dataclass(eq=False)
class IPAdapter:
    """One loaded file, in one dtype on one device.

    layers: key and value matrices of each cross-attention, both (layer's width, context width), in diffusers'
    order of a UNet's layers: down, up, middle. Lives on the torch thread.
    """

    name: str
    path: Path
    kind: Kind
    projection: Projection
    layers: list[tuple[torch.Tensor, torch.Tensor]]

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""
        matrices = (matrix for layer in self.layers for matrix in layer)
        return sum(tensor.nbytes for tensor in (*self.projection.parameters(), *matrices))

    @property
    def context(self) -> int:
        """Width of its tokens: 768 for SD 1.x, 2048 for SDXL."""
        return int(self.layers[0][0].shape[1])

    @property
    def width(self) -> int:
        """Of what it takes from an encoder: 1024 and 1280 are ViT-H's embedding and hidden layer."""
        return self.projection.width

    def to(self, device: torch.device) -> IPAdapter:
        """Move it; returns itself."""
        self.projection.to(device)
        self.layers = [(key.to(device), value.to(device)) for key, value in self.layers]
        return self

    def embed(self, views: Sequence[ClipView], *, field: str = "controlnet") -> ImageTokens:
        """Pictures as tokens; those of several are averaged.

        Raises:
            JobError: for `field`: the adapter takes another encoder's views, or faces.
        """
        if self.kind == "faceid":
            raise JobError(
                f"{field}: {self.name} takes the embedding of a face recogniser, which Easel has not; give it"
                " as `ipadapter_input`, or use another adapter"
            )
        if self.kind == "base":
            shown = torch.cat([view.projected for view in views])
            blank = torch.zeros_like(shown[:1])
        else:
            shown = torch.cat([view.hidden for view in views])
            blank = views[0].blank
        if shown.shape[-1] != self.width:
            raise JobError(
                f"{field}: {self.name} takes {self.width} features from its image encoder, this one gives"
                f" {shown.shape[-1]}: ip-adapter_clip_sd15 and ip-adapter_clip_sdxl_plus_vith are ViT-H,"
                " ip-adapter_clip_sdxl is ViT-bigG"
            )
        return self._tokens(shown, blank)

    def embed_faces(self, faces: torch.Tensor, *, field: str = "controlnet") -> ImageTokens:
        """Embeddings of a face recogniser (n, 512) as tokens, averaged. For the kind "faceid".

        Raises:
            JobError: for `field`: the adapter takes pictures, or embeddings of another width.
        """
        faces = faces.reshape(-1, faces.shape[-1]) if faces.ndim else faces.reshape(1, 1)
        if self.kind != "faceid" or faces.shape[-1] != self.width:
            raise JobError(
                f"{field}: {self.name} takes no face embeddings of {faces.shape[-1]} features"
                + (f", but of {self.width}" if self.kind == "faceid" else ", but pictures")
            )
        return self._tokens(faces, torch.zeros_like(faces[:1]))

    @torch.inference_mode()
    def _tokens(self, shown: torch.Tensor, blank: torch.Tensor) -> ImageTokens:
        like = self.layers[0][0]
        shown, blank = (self.projection(seen.to(like.device, like.dtype)) for seen in (shown, blank))
        return ImageTokens(shown.mean(dim=0, keepdim=True), blank)


def load_ip_adapter(
    path: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    allow_pickle: bool = False,
    check: Callable[[Shapes], object] = lambda shapes: None,
) -> IPAdapter:
    """Read a file in its original form (`image_proj` and `ip_adapter` in a pickle) or a flat safetensors.

    The kind is told by names and shapes. LoRA weights that a faceid file has besides are not read: they are
    published as a LoRA of their own.

    check: told the weights' names and shapes before any is read; what it raises passes through.

    Raises:
        CheckpointError: names the file and what is wrong with it.
    """
    target = Target(device, dtype)
    with open_weights(path, device, allow_pickle=allow_pickle) as stored:
        try:
            check(stored.shapes)
            kind = find_kind(stored.shapes)
            projection = _projection(stored, kind, target)
            layers = _layers(stored, target)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
    return IPAdapter(path.stem, path, kind, projection, layers)


def find_kind(shapes: Shapes) -> Kind:
    """What kind of IP-Adapter has weights of these names and shapes.

    Raises:
        CheckpointError: none, or one that needs more than Easel has.
    """
    if not any(name.startswith("ip_adapter.") for name in shapes):
        raise CheckpointError("it is no IP-Adapter: expected weights image_proj.* and ip_adapter.*")
    inside = below(shapes, _PROJECTION)
    if any(name.startswith("perceiver_resampler.") for name in inside):
        raise CheckpointError(
            "it is an IP-Adapter FaceID Plus, which needs a face recogniser and CLIP; expected one of the"
            " kinds base, plus, plus-face, full-face or FaceID"
        )
    if "proj.weight" in inside:
        return "base"
    if "proj.3.weight" in inside:
        return "full"
    if "proj.2.weight" in inside and "norm.weight" in inside:
        return "faceid"
    if "latents" in inside and "proj_in.weight" in inside:
        if inside["proj_in.weight"][-1] == _FACE_WIDTH:
            raise CheckpointError("it is InstantID's adapter, which needs a face recogniser")
        return "plus"
    known = ", ".join(sorted(inside)[:_NAMED_AT_MOST]) or "none"
    raise CheckpointError(f"its image_proj.* is of no known kind; its weights begin with: {known}")


def _projection(stored: StoredWeights, kind: Kind, target: Target) -> Projection:
    shapes = below(stored.shapes, _PROJECTION)
    try:
        module = _BUILDERS[kind](shapes)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"its image_proj.* lacks weights of the kind {kind!r}: {error}") from error
    sources = {name: Source(name) for name in shapes}
    fill(module, sources, _PROJECTION, stored, target)
    module.eval().requires_grad_(False)
    return module


def _layers(stored: StoredWeights, target: Target) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Files number all of the UNet's attention layers, of which every second is a cross-attention."""
    found = (re.fullmatch(r"ip_adapter\.(\d+)\.to_k_ip\.weight", name) for name in stored.shapes)
    layers = []
    for number in sorted(int(match[1]) for match in found if match):
        names = [f"ip_adapter.{number}.to_{letter}_ip.weight" for letter in "kv"]
        shapes = {stored.shapes.get(name) for name in names}
        if len(shapes) != 1 or len(shapes.pop() or ()) != 2:
            raise CheckpointError(f"{' and '.join(names)} should be two matrices of one shape")
        key, value = (stored.read(Source(name), dtype=target.dtype, device=target.device) for name in names)
        layers.append((key, value))
    if not layers:
        raise CheckpointError("it has no weights ip_adapter.*.to_k_ip.weight")
    return layers
