"""What an image encoder saw, as a text that travels: detect answers it, and a unit's `ipadapter_input` brings
it back, so that the picture is looked at once for many requests.

The text is base64 of torch's file format. A client may send anything under that name, so it is read by
torch's restricted reader, and what is not tensors of the right kind is refused.
"""

from __future__ import annotations

import base64
import io
from dataclasses import asdict, fields

import torch
from torch import Tensor

from easel_contract.errors import ContractError
from easel_contract.images import base64_part, decode_base64
from easel_worker.diffusion.attention.clip_vision import ClipView

MAX_BYTES = 32 * 1024 * 1024
"""Of one embedding. ViT-H's and ViT-bigG's views are below 4 MiB."""
MAX_NUMBERS = MAX_BYTES // 2
"""Of one tensor: a few bytes of a file may claim any shape by strides of zero."""


def to_text(view: ClipView) -> str:
    """A view as base64, in float32: a request with it gets what the picture itself would have given."""
    file = io.BytesIO()
    torch.save({name: tensor.float().cpu().contiguous() for name, tensor in asdict(view).items()}, file)
    return base64.b64encode(file.getvalue()).decode()


def from_text(text: str, *, field: str, max_bytes: int = MAX_BYTES) -> ClipView | Tensor:
    """The view that `to_text` wrote; or the tensor that is in the file, (n, features) float32, which are
    embeddings of faces. On the CPU.

    Raises:
        ContractError: 422 for `field`: it is neither.
    """
    data = decode_base64(base64_part(text, field=field, max_bytes=max_bytes), field=field)
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # readers of hostile bytes raise whatever they stumble over
        raise _wrong(field, "cannot be read") from error
    if isinstance(loaded, Tensor):
        return _checked(loaded, field, dimensions=(1, 2, 3)).reshape(-1, loaded.shape[-1])
    names = [part.name for part in fields(ClipView)]
    if not isinstance(loaded, dict) or set(loaded) != set(names):
        raise _wrong(field, "holds something else")
    projected, hidden, blank = (loaded[name] for name in names)
    view = ClipView(
        _checked(projected, field, dimensions=(2,)),
        _checked(hidden, field, dimensions=(3,)),
        _checked(blank, field, dimensions=(3,)),
    )
    if view.hidden.shape != view.blank.shape or {len(view.projected), len(view.hidden)} != {1}:
        raise _wrong(field, "has parts that do not fit each other")
    return view


def _checked(tensor: object, field: str, *, dimensions: tuple[int, ...]) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or not tensor.is_floating_point():
        raise _wrong(field, "holds something else")
    if tensor.ndim not in dimensions or not 0 < tensor.numel() <= MAX_NUMBERS:
        raise _wrong(field, f"holds a tensor of the shape {tuple(tensor.shape)}")
    values = tensor.float()
    if not bool(torch.isfinite(values).all()):
        raise _wrong(field, "holds values that are not numbers")
    return values


def _wrong(field: str, what: str) -> ContractError:
    return ContractError(
        f"{what}; it should be an entry of `tensor` in an answer of /controlnet/detect", field=field
    )
