"""ControlNets and their kin: networks beside the UNet that look at a picture and add to what it computes.

    model = load_control(path, device=checkpoint.device, dtype=checkpoint.dtype)
    hook = control_hook(model, hint, ControlArgs(weight=0.8, guidance_end=0.5), checkpoint)
    hooks.residuals.append(hook)

`load_control` reads the file once; a hook lives for one pass of one unit.
"""

from __future__ import annotations

from easel_worker.diffusion.control.args import UNION_TYPES, ControlArgs
from easel_worker.diffusion.control.hook import ControlHook, control_hook
from easel_worker.diffusion.control.kinds import ControlKind, file_kind, find_kind
from easel_worker.diffusion.control.load import load_control
from easel_worker.diffusion.control.model import ControlModel

__all__ = [
    "UNION_TYPES",
    "ControlArgs",
    "ControlHook",
    "ControlKind",
    "ControlModel",
    "control_hook",
    "file_kind",
    "find_kind",
    "load_control",
]
