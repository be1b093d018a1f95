"""diffusers' names of the weights in a ControlNet file, whatever it names them.

lllyasviel's ControlNet (`cldm/cldm.py`) names the copied half of the UNet as LDM does and adds
``input_hint_block``, ``zero_convs`` and ``middle_block_out``, all below ``control_model.`` in some files.
TencentARC's T2I-Adapter (`ldm/modules/encoders/adapter.py`) numbers the blocks of all levels in a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.ldm_unet import residual_blocks, unet_name

_PREFIXES = ("control_model.", "controlnet.", "module.")
_LEVELS = 4


def control_names(stored: Iterable[str]) -> dict[str, str]:
    """The name in the file of each of diffusers' names; what is no part of the network is left out."""
    plain = _below(stored, _PREFIXES)
    if any(name.startswith("controlnet_down_blocks.") for name in plain):
        return plain
    layers = residual_blocks(plain)
    last = max((int(found[1]) for name in plain if (found := _HINT.match(name))), default=0)
    renamed = ((_original(name, layers, last), whole) for name, whole in plain.items())
    return {ours: whole for ours, whole in renamed if ours is not None}


_HINT = re.compile(r"input_hint_block\.(\d+)\.(.+)")
_ZERO = re.compile(r"zero_convs\.(\d+)\.0\.(.+)")


def _original(name: str, layers: int, last: int) -> str | None:
    """layers: residual blocks per level. last: the hint block's last convolution; between any two is an
    activation."""
    if found := _HINT.match(name):
        number = int(found[1])
        place = "conv_in" if number == 0 else "conv_out" if number == last else f"blocks.{number // 2 - 1}"
        return f"controlnet_cond_embedding.{place}.{found[2]}"
    if found := _ZERO.match(name):
        return f"controlnet_down_blocks.{found[1]}.{found[2]}"
    if name.startswith("middle_block_out.0."):
        return f"controlnet_mid_block.{name[len('middle_block_out.0.') :]}"
    # Control-LoRAs have "up" and "down" where others have "weight".
    return unet_name(name, layers)


def adapter_names(stored: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The same for a T2I-adapter.

    Raises:
        CheckpointError: its blocks have parts that no published adapter for Stable Diffusion 1.x or XL has.
    """
    plain = _below(stored, ("adapter.", "module."))
    for part in (".skep.", ".down_opt."):
        if any(part in name for name in plain):
            raise CheckpointError(f"its blocks have a part *{part}*, which is not supported")
    if any(".resnets." in name for name in plain):
        return {f"adapter.{name}": whole for name, whole in plain.items()}
    if any(".body." in name for name in plain):  # a light one, whose levels are numbered as diffusers does
        return {f"adapter.{name.replace('.body.', '.resnets.')}": whole for name, whole in plain.items()}
    places = (re.match(r"body\.(\d+)\.", name) for name in plain)
    blocks = max((int(found[1]) + 1 for found in places if found), default=0)
    return {f"adapter.{_flat(name, max(blocks // _LEVELS, 1))}": whole for name, whole in plain.items()}


def _flat(name: str, per_level: int) -> str:
    found = re.match(r"body\.(\d+)\.(.+)", name)
    if found is None:
        return name
    level, block = divmod(int(found[1]), per_level)
    inside = found[2]
    return f"body.{level}." + (inside if inside.startswith("in_conv.") else f"resnets.{block}.{inside}")


def _below(names: Iterable[str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """Whole names by what follows the first of the prefixes that occurs; by themselves where none does."""
    known = tuple(names)
    prefix = next((one for one in prefixes if any(name.startswith(one) for name in known)), "")
    return {name[len(prefix) :]: name for name in known if name.startswith(prefix)}
