"""The table of preprocessors in docs/controlnet.md, from the modules themselves.

python tests/deploy/modules_table.py --write     puts it between the markers of the page
python tests/deploy/modules_table.py --check     exit status 1 if the page has another
"""

from __future__ import annotations

from page_table import main

from easel_contract.controlnet import MODULES, Module, Slider
from easel_contract.controlnet.modules import RESOLUTION


def told(slider: Slider | None) -> str:
    """A slider's name, range and default."""
    if slider is None:
        return ""
    return f"{slider.name} {slider.minimum:g}–{slider.maximum:g}, {slider.default:g}"


def row(module: Module) -> str:
    """What a client may call it, its types, its sliders, the files that it needs."""
    label = f" ({module.label})" if module.label != module.name else ""
    resolution = "" if module.resolution is None else f"{module.resolution.default:g}"
    cells = [
        f"`{module.name}`{label}",
        ", ".join(module.types),
        resolution,
        told(module.a),
        told(module.b),
        ", ".join(f"`{name}`" for name in module.weights),
    ]
    return f"| {' | '.join(cells)} |"


def tables() -> str:
    """A table of the modules that Easel has, and a list of those that it refuses."""
    lines = [
        f"`processor_res` is {RESOLUTION.minimum:g} to {RESOLUTION.maximum:g} where a default is shown.",
        "",
        "| module (label) | type | `processor_res` | `threshold_a` | `threshold_b` | files |",
        "|---|---|---|---|---|---|",
        *(row(module) for module in MODULES.values() if module.supported),
        "",
        "Known by name and refused, whatever files there are: "
        + ", ".join(f"`{name}`" for name, module in MODULES.items() if not module.supported)
        + ".",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main("docs/controlnet.md", "modules", tables())
