"""What infotexts tell of units, in the form that ControlNet's page reads back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from easel_contract.controlnet import HrOption
from easel_worker.generation.control.unit import Unit


def control_facts(units: Iterable[Unit]) -> Mapping[str, str]:
    """``ControlNet 0``, ``ControlNet 1``, …: each unit's settings, by its place in the request."""
    return {f"ControlNet {unit.asked.index}": _line(unit) for unit in units}


def _line(unit: Unit) -> str:
    asked = unit.asked
    settings: dict[str, object] = {
        "Module": asked.module,
        "Model": "None" if unit.file is None else unit.file.name,
        "Weight": asked.weight,
        "Resize Mode": asked.resize_mode.label,
        "Processor Res": asked.processor_res,
        "Threshold A": float(asked.threshold_a),
        "Threshold B": float(asked.threshold_b),
        "Guidance Start": asked.guidance_start,
        "Guidance End": asked.guidance_end,
        "Pixel Perfect": asked.pixel_perfect,
        "Control Mode": asked.control_mode.label,
    }
    if asked.hr_option is not HrOption.BOTH:
        settings["Hr Option"] = asked.hr_option.value
    return ", ".join(f"{key}: {value}" for key, value in settings.items())
