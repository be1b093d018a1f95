"""Prompts from file or textbox: a generation for each line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest, check_request, from_validation
from easel_contract.requests.scripts import PromptsFromFile
from easel_worker.generation.job import Job
from easel_worker.generation.scripts.limits import check_count
from easel_worker.seeds import resolve_seeds

TAGS = (
    *("prompt", "negative_prompt", "seed", "subseed", "subseed_strength"),
    *("seed_resize_from_h", "seed_resize_from_w", "sampler_name", "sampler_index", "scheduler"),
    *("batch_size", "n_iter", "steps", "cfg_scale", "width", "height", "restore_faces", "tiling"),
    *("denoising_strength", "enable_hr", "hr_scale", "hr_upscaler", "hr_second_pass_steps", "eta"),
    *("sd_model", "do_not_save_samples", "do_not_save_grid"),
)
"""What a line may set with ``--name value``."""

IGNORED = ("outpath_samples", "outpath_grids", "prompt_for_display")
"""What A1111's lines may have besides, and nothing follows from here: where files go is the request's say."""

FIELD = "script_args.text"


def jobs_of(
    script: PromptsFromFile,
    request: GenerationRequest,
    job_of: Callable[[GenerationRequest], Job],
    limits: Limits,
) -> list[Job]:
    """The job of each line that is not empty: the request, with what the line says.

    A line is a prompt, or a row of ``--name value``. Prompts stand before or behind the request's own. With
    `same_seed` and `iterate_seed` a random seed is drawn once for all lines; with the latter each line's is
    one on for every picture of a line.

    Raises:
        ContractError: 422, names the line and what is wrong with it; more pictures than the operator allows.
    """
    seed = request.seed
    if script.iterate_seed or script.same_seed:
        seed = resolve_seeds(seed, 1)[0]
    jobs: list[Job] = []
    images = 0
    for number, line in enumerate(script.text.splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        try:
            made = _with(request, _joined(script, _read(line), request), seed)
            made.obey(limits)
            check_request(made, limits)
            images += made.images
            check_count(images, limits)
            jobs.append(job_of(made))
        except ContractError as error:
            raise ContractError(f"line {number}: {error}", field=FIELD, kind=error.kind) from None
        if script.iterate_seed:
            seed += request.images
    if not jobs:
        raise ContractError("has no line with a prompt", field=FIELD)
    return jobs


def _joined(script: PromptsFromFile, said: dict[str, Any], request: GenerationRequest) -> dict[str, Any]:
    """What a line says, its prompts with those of the request."""
    for name in ("prompt", "negative_prompt"):
        own = getattr(request, name)
        if said.get(name) and own:
            parts = (said[name], own) if script.position == "start" else (own, said[name])
            said = {**said, name: " ".join(parts)}
    return said


def _with(request: GenerationRequest, said: Mapping[str, Any], seed: int) -> GenerationRequest:
    given = {"seed": seed, **said, "script_name": None, "script_args": []}
    model = given.pop("sd_model", None)
    if model is not None:
        given["override_settings"] = {**request.override_settings, "sd_model_checkpoint": model}
        # The cloud's key would win over the option.
        scripts = request.alwayson_scripts
        given["alwayson_scripts"] = {k: v for k, v in scripts.items() if k != "sd_model_checkpoint"}
    if "sampler_index" in given:  # the older name, which one that the request has would hide
        given.setdefault("sampler_name", given["sampler_index"])
    try:
        made = type(request).model_validate({**request.model_dump(), **given})
    except ValidationError as error:
        raise from_validation(error) from None
    return made


def _read(line: str) -> dict[str, Any]:
    if not line.startswith("--"):
        return {"prompt": line}
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ContractError(str(error)) from None
    said: dict[str, Any] = {}
    place = 0
    while place < len(words):
        name = words[place].removeprefix("--")
        if not words[place].startswith("--") or name not in (*TAGS, *IGNORED):
            raise ContractError(f"{words[place][:60]!r} is not one of --{', --'.join(TAGS)}")
        values: list[str] = []
        place += 1
        # A prompt may be several words without quotes; a number may be negative.
        while place < len(words) and not words[place].startswith("--"):
            values.append(words[place])
            place += 1
        if not values:
            raise ContractError(f"--{name} has no value")
        if name in TAGS:
            said[name] = " ".join(values)
    return said
