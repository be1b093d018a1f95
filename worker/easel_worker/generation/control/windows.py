"""Whether any step of a generation lies between the ends of a unit's guidance."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import ceil, floor

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.combining import UnusableError
from easel_contract.requests import GenerationRequest
from easel_contract.requests.scripts import SEVERAL, Loopback
from easel_worker.generation.control.unit import Unit
from easel_worker.generation.courses import steps_of
from easel_worker.generation.job import Job
from easel_worker.generation.scripts.loopback import strengths


def check_steps(unit: Unit, request: GenerationRequest, job: Job) -> None:
    """Refuse a unit that none of the steps would hear of that its request has made. Each loop of a loopback
    counts; of a script that makes requests of its own, those are asked about instead.

    Raises:
        UnusableError: as `check_window`.
    """
    if isinstance(request.script, SEVERAL):
        return
    jobs = [job]
    if isinstance(request.script, Loopback):
        loops = strengths(request.script, job.denoising_strength)
        jobs = [replace(job, denoising_strength=strength) for strength in loops]
    courses = [steps_of(one) for one in jobs]
    check_window(unit.asked, [count for course in courses for count in course[unit.passes(len(course))]])


def check_window(asked: ControlUnit, steps: Collection[int | None]) -> None:
    """Refuse a unit that no step would hear of.

    Step k of n, counted from 0, begins when k / n of the way is done; both ends of the window belong to it.

    Args:
        steps: Of each pass that the unit takes part in; None where nobody knows them, which is let pass.

    Raises:
        UnusableError: naming the end of the window that keeps it from the nearest step, and where that is.
    """
    if None in steps:
        return
    counts = sorted({count for count in steps if count})
    if not counts:
        raise UnusableError(
            "takes part in no step, because none is made: send more steps, or a higher denoising_strength",
            field=asked.field,
        )
    begins = sorted({step / count for count in counts for step in range(count)})
    start, end = asked.guidance_start, asked.guidance_end
    if any(start <= moment <= end for moment in begins):
        return
    made = " and ".join(map(str, counts)) + " steps"
    later = [moment for moment in begins if moment >= start]
    if later:
        raise UnusableError(
            f"from {start:g} to {end:g} none of {made} begins; the next one does at {_up(later[0])}: send "
            "that or more",
            field=f"{asked.field}.guidance_end",
        )
    raise UnusableError(
        f"is {start:g}, and the last of {made} begins at {_down(begins[-1])}: send that or less",
        field=f"{asked.field}.guidance_start",
    )


def _up(part: float) -> str:
    return f"{ceil(part * 1000) / 1000:g}"


def _down(part: float) -> str:
    return f"{floor(part * 1000) / 1000:g}"
