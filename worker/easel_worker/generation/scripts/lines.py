"""Prompts from file or textbox: a generation for each line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest, check_limits, from_validation
from easel_contract.requests.scripts import PromptsFromFile

TAGS = (
    *("prompt", "negative_prompt", "seed", "subseed", "subseed_strength"),
    *("seed_resize_from_h", "seed_resize_from_w", "sampler_name", "sampler_index", "scheduler"),
    *("batch_size", "n_iter", "steps", "cfg_scale", "width", "height", "restore_faces", "tiling"),
    *("denoising_strength", "enable_hr", "hr_scale", "hr_upscaler", "hr_second_pass_steps", "eta"),
    *("sd_model", "do_not_save_samples", "do_not_save_grid"),
)
"""What a line may set with ``--name value``."""

FIELD = "script_args.text"


def requests_of(
    script: PromptsFromFile, request: GenerationRequest, limits: Limits
) -> Iterator[GenerationRequest]:
    """The request of each line that is not empty: the script's own, with what the line says.

    A line is a prompt, which stands before or behind the request's own, or a row of ``--name value``. Seeds:
    all the request's with `same_seed`; with `iterate_seed` each line goes on where the one before ended.

    Raises:
        ContractError: 422, names the line and what is wrong with it.
    """
    seed = request.seed
    for number, line in enumerate(script.text.splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        said: dict[str, Any]
        said = _read(line, number) if line.startswith("--") else {"prompt": _placed(script, line, request)}
        if "seed" not in said:
            said = {**said, "seed": seed}
        made = _with(request, said, number)
        try:
            check_limits(made, limits)
        except ContractError as error:
            raise ContractError(f"line {number}: {error}", field=FIELD) from None
        yield made
        if script.iterate_seed and made.seed != -1:
            seed = made.seed + made.images


def _placed(script: PromptsFromFile, line: str, request: GenerationRequest) -> str:
    parts = (line, request.prompt) if script.position == "start" else (request.prompt, line)
    return " ".join(part for part in parts if part)


def _with(request: GenerationRequest, said: Mapping[str, Any], number: int) -> GenerationRequest:
    model = said.get("sd_model")
    given = {key: value for key, value in said.items() if key != "sd_model"}
    given |= {"script_name": None, "script_args": []}
    if model is not None:
        given["override_settings"] = {**request.override_settings, "sd_model_checkpoint": model}
    try:
        made = type(request).model_validate({**request.model_dump(), **given})
    except ValidationError as error:
        wrong = from_validation(error)
        raise ContractError(f"line {number}: {wrong}", field=FIELD) from None
    made._strict = request.strict
    return made


def _read(line: str, number: int) -> dict[str, Any]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ContractError(f"line {number}: {error}", field=FIELD) from None
    said: dict[str, Any] = {}
    place = 0
    while place < len(words):
        name = words[place].removeprefix("--")
        if not words[place].startswith("--") or name not in TAGS:
            raise ContractError(
                f"line {number}: {words[place][:60]!r} is not one of --{', --'.join(TAGS)}", field=FIELD
            )
        values: list[str] = []
        place += 1
        # A prompt may be several words without quotes; a number may be negative.
        while place < len(words) and not words[place].startswith("--"):
            values.append(words[place])
            place += 1
        if not values:
            raise ContractError(f"line {number}: --{name} has no value", field=FIELD)
        said[name] = " ".join(values)
    return said
