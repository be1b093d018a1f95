"""What a single file's UNet predicts: the noise or the velocity. No shape tells it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.parts import Prediction
from easel_worker.diffusion.single_file.families import SD2, Family
from easel_worker.diffusion.single_file.stored import StoredWeights

_MAX_YAML_BYTES = 1024 * 1024
_VELOCITY = re.compile(r"""^\s*parameterization\s*:\s*["']?v["']?\s*(?:#.*)?$""", re.MULTILINE)
_MODELSPEC = "modelspec.prediction_type"
_PROBE_SIDE = 32
_LAST_TIMESTEP = 999.0


def find_prediction(path: Path, stored: StoredWeights, family: Family, unet: Any) -> Prediction:
    """What the UNet of a file predicts.

    Asked in this order: ``parameterization: "v"`` in ``<name>.yaml``; an entry ``v_pred`` among the weights,
    as trainers leave it; the header's ModelSpec; for SD 2.x, which exists in both kinds, the UNet itself.
    Everything else predicts the noise.
    """
    if _yaml_says_velocity(path.with_suffix(".yaml")) or "v_pred" in stored.shapes:
        return "v_prediction"
    said = stored.metadata.get(_MODELSPEC, "").strip().lower()
    if said in ("v", "v_prediction"):
        return "v_prediction"
    if said in ("epsilon", "eps") or family is not SD2:
        return "epsilon"
    return _probe(unet)


def is_zero_terminal_snr(stored: StoredWeights) -> bool:
    """Whether the file says that it was trained with zero terminal SNR, by an entry ``ztsnr``."""
    return "ztsnr" in stored.shapes


def _yaml_says_velocity(path: Path) -> bool:
    # One line of it matters, so no YAML parser is let at a stranger's file.
    try:
        if path.stat().st_size > _MAX_YAML_BYTES:
            return False
        return _VELOCITY.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False


@torch.inference_mode()
def _probe(unet: Any) -> Prediction:
    """Ask the UNet about pure noise at the last timestep. One that predicts the noise gives it back; the
    velocity there is (nearly) the data's negative, which noise says nothing about."""
    weight = next(unet.parameters())
    generator = torch.Generator().manual_seed(0)
    shape = (1, unet.config.in_channels, _PROBE_SIDE, _PROBE_SIDE)
    noise = torch.randn(shape, generator=generator)
    context = torch.zeros(1, 77, unet.config.cross_attention_dim, dtype=weight.dtype, device=weight.device)
    seen = noise.to(weight)
    output = unet(seen, torch.full((1,), _LAST_TIMESTEP, device=weight.device), context, return_dict=False)[0]
    latents = output.shape[1]
    pair = torch.stack([output.flatten().float().cpu(), noise[:, :latents].flatten()])
    return "epsilon" if float(torch.corrcoef(pair)[0, 1]) > 0.5 else "v_prediction"
