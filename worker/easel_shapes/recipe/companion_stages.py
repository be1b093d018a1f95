"""The stages that make the model's companions, in order; each begins with what the ones before left.

They work on a finished model: the shipped one unless another is named. Their sittings go on like the model's
own (`stages`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType

from easel_shapes import model_folder
from easel_shapes.companions import companion_file
from easel_shapes.recipe import control_data
from easel_shapes.recipe.base import load_base
from easel_shapes.recipe.companion_files import write_control_lora, write_kohya
from easel_shapes.recipe.judge_companions import judge_companions
from easel_shapes.recipe.sitting import Sitting
from easel_shapes.recipe.stages import Run
from easel_shapes.recipe.train_control import load_control, train_control
from easel_shapes.recipe.train_lora import LORAS, load_lora, train_lora


def control(run: Run) -> Sitting:
    """Draw outlines, and train the ControlNet on them."""
    base = load_base(_model(run), run.device)
    pools = control_data.load_or_draw(run.out, base, run.seed, run.plan.control_pictures, run.device)
    budget = run.budget(run.plan.control_steps)
    return train_control(run.out, base, pools, seed=run.seed, budget=budget, device=run.device)


def lora(name: str, run: Run) -> Sitting:
    """Train one LoRA."""
    return train_lora(
        run.out,
        _model(run),
        name,
        seed=run.seed,
        pictures=run.plan.lora_pictures,
        budget=run.budget(run.plan.lora_steps),
        device=run.device,
    )


def write(run: Run) -> None:
    """Write the files."""
    folder = _target(run)
    write_control_lora(
        load_control(run.out, load_base(_model(run), run.device), run.device), companion_file("edges", folder)
    )
    for name in LORAS:
        trainee = load_lora(run.out, name, load_base(_model(run), run.device))
        write_kohya(trainee, companion_file(name, folder), model_name=_model(run).name)


def judge(run: Run) -> None:
    """Draw with them and measure; companions.md and a sheet of samples for each."""
    judge_companions(_model(run), _target(run), run.out, count=run.plan.companion_cases, device=run.device)


def _model(run: Run) -> Path:
    return run.model or model_folder()


def _target(run: Run) -> Path:
    return run.out / "companions"


COMPANION_STAGES: MappingProxyType[str, Callable[[Run], Sitting | None]] = MappingProxyType(
    {
        "control": control,
        **{f"lora-{name}": partial(lora, name) for name in LORAS},
        "write-companions": write,
        "judge-companions": judge,
    }
)
"""What makes the companions, in this order."""
