"""The table of fields and kinds of units in docs/controlnet.md says what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from easel_contract.controlnet import read_units
from easel_contract.controlnet.combining import Init
from easel_contract.errors import ContractError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "controlnet.md"
UNITS: dict[str, dict[str, Any]] = {
    "ControlNet, control-LoRA": {"module": "canny", "model": "m"},
    "union": {"module": "canny", "model": "m"},
    "T2I-adapter": {"module": "color", "model": "m"},
    "IP-Adapter": {"module": "ip-adapter-auto", "model": "m"},
    "`reference_*`": {"module": "reference_adain"},
    "Revision": {"module": "revision_clipvision"},
}
SENT: dict[str, dict[str, Any]] = {
    "`image`, `image_link`": {"image": "A"},
    "`mask`, with the unit's own picture": {"image": "A", "mask": "M"},
    "`mask`, with img2img's picture": {"mask": "M"},
    "`mask`, with `ipadapter_input`": {"mask": "M", "ipadapter_input": "T"},
    "`ipadapter_input`": {"ipadapter_input": "T"},
    "`weight`": {"weight": 0.5},
    "`resize_mode`, with the unit's own picture": {"image": "A", "resize_mode": 2},
    "`resize_mode`, with img2img's picture": {"resize_mode": 2},
    "`inpaint_crop_input_image`": {"inpaint_crop_input_image": False},
    "`guidance_start`, `guidance_end`": {"guidance_start": 0.2, "guidance_end": 0.8},
    "`control_mode`": {"control_mode": 2},
    "`advanced_weighting`, instead of the mode's layer weights": {"advanced_weighting": [1.0]},
    "`effective_region_mask`": {"effective_region_mask": "M"},
    "`hr_option`": {"hr_option": "Low res only"},
    "`union_control_type`": {"union_control_type": "Depth"},
    "`pulid_mode`": {"pulid_mode": "Extremely style"},
    "`processor_res`, `threshold_a`, `threshold_b`": {"threshold_a": 64, "threshold_b": 64},
    "`pixel_perfect`": {"pixel_perfect": True},
    "`save_detected_map`": {"save_detected_map": False},
    "`low_vram`": {"low_vram": True},
    "`guessmode`, batch fields, `output_dir`, `loopback`": {"loopback": True},
}
OF_THE_WORKER = {("`union_control_type`", kind) for kind in ("ControlNet, control-LoRA", "T2I-adapter")}
"""What the model's file tells; tests/worker/generation/test_control_in_vain.py asks."""


def cells() -> list[tuple[str, str, str]]:
    """Field, kind and what the page says; "likewise" is what the cell to the left says."""
    found = re.search(r"<!-- kinds: begin.*?-->(.*?)<!-- kinds: end -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].strip().splitlines()]
    head, _, *body = rows
    assert head[1:] == list(UNITS)
    assert [row[0] for row in body] == ["`model`", *SENT]
    table = []
    for field, *said in body[1:]:
        for place, kind in enumerate(head[1:]):
            said[place] = said[place - 1] if said[place] == "likewise" else said[place]
            table.append((field, kind, said[place]))
    return table


@pytest.mark.parametrize(("field", "kind", "says"), cells())
def test_the_page_says_what_is_refused(field: str, kind: str, says: str) -> None:
    unit = UNITS[kind] | SENT[field]
    if says.startswith("422") and (field, kind) not in OF_THE_WORKER:
        with pytest.raises(ContractError):
            read_units([unit], limit=1, strict=True, init=Init())
    else:
        found = read_units([unit], limit=1, strict=True, init=Init())
        assert len(found.units) == 1
        assert bool(found.warnings) is says.startswith("`info`")
