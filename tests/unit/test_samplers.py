"""Sampler names resolve as clients expect, and unknown ones are refused."""

from __future__ import annotations

import pytest

from easel_contract.errors import ContractError
from easel_contract.samplers import SAMPLERS, SamplerChoice, resolve


@pytest.mark.parametrize(
    ("name", "scheduler", "expected"),
    [
        (None, None, ("Euler", "uniform")),
        ("DPM++ 2M", None, ("DPM++ 2M", "karras")),
        ("DPM++ 2M Karras", "", ("DPM++ 2M", "karras")),
        ("DPM++ 2M Karras", "automatic", ("DPM++ 2M", "karras")),
        ("DPM++ 2M Karras", "Exponential", ("DPM++ 2M", "exponential")),
        ("DPM++ 2M", "Karras", ("DPM++ 2M", "karras")),
        ("Euler a", "automatic", ("Euler a", "uniform")),
        ("Euler a Karras", None, ("Euler a", "karras")),
        ("Euler karras", None, ("Euler", "karras")),
        ("euler a", None, ("Euler a", "uniform")),
        ("k_euler_a", None, ("Euler a", "uniform")),
        ("Euler", "SGMUniform", ("Euler", "sgm_uniform")),
        ("Euler", "sgm_uniform", ("Euler", "sgm_uniform")),
        ("Euler SGM Uniform", None, ("Euler", "sgm_uniform")),
        ("DPM++ 2M Align Your Steps", None, ("DPM++ 2M", "align_your_steps")),
        ("LMS Karras", None, ("LMS", "karras")),
        ("DDIM Karras", "Karras", ("DDIM", "uniform")),
        ("UniPC", "Karras", ("UniPC", "uniform")),
    ],
)
def test_names(name: str | None, scheduler: str | None, expected: tuple[str, str]) -> None:
    assert resolve(name, scheduler) == SamplerChoice(*expected)


@pytest.mark.parametrize("name", ["foo", "Karras", "Euler foo", "DPM++"])
def test_an_unknown_sampler_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContractError, match="Sampler not found") as caught:
        resolve(name)
    assert caught.value.status == 400
    assert caught.value.field == "sampler_name"
    assert all(sampler.name in caught.value.message for sampler in SAMPLERS)


def test_an_unknown_scheduler_is_refused() -> None:
    with pytest.raises(ContractError, match="Scheduler not found") as caught:
        resolve("Euler", "nonsense")
    assert (caught.value.status, caught.value.field) == (400, "scheduler")


def test_the_label_is_what_infotext_writes() -> None:
    assert resolve("DPM++ 2M").label == "Karras"
    assert resolve("Euler").label == "Uniform"
