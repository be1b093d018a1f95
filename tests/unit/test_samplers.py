"""Sampler names resolve as clients expect, and unknown ones are refused or replaced aloud."""

from __future__ import annotations

import pytest

from easel_contract.errors import ContractError
from easel_contract.samplers import SAMPLERS, SCHEDULERS, SamplerChoice, resolve


@pytest.mark.parametrize(
    ("name", "scheduler", "expected"),
    [
        (None, None, ("Euler", "uniform")),
        ("DPM++ 2M", None, ("DPM++ 2M", "karras")),
        ("DPM++ 2M Karras", "", ("DPM++ 2M", "karras")),
        ("DPM++ 2M Karras", "automatic", ("DPM++ 2M", "karras")),
        ("DPM++ 2M Karras", "Exponential", ("DPM++ 2M", "exponential")),
        ("DPM++ 2M", "Karras", ("DPM++ 2M", "karras")),
        ("Euler a", None, ("Euler a", "uniform")),
        ("Euler a", "automatic", ("Euler a", "uniform")),
        # webuiapi sends "automatic" with every request; the picture is the one that it always got.
        ("Euler a Karras", "automatic", ("Euler a", "uniform")),
        ("Euler", "SGM Uniform", ("Euler", "sgm_uniform")),
        ("Euler SGMUniform", None, ("Euler", "sgm_uniform")),
        ("DPM++ 2M SDE Exponential", None, ("DPM++ 2M SDE", "exponential")),
        ("DPM++ 2M SDE Karras", None, ("DPM++ 2M SDE", "karras")),
        ("DPM++ 2M SDE Heun Karras", None, ("DPM++ 2M SDE Heun", "karras")),
        ("DPM2 a Karras", None, ("DPM2 a", "karras")),
        ("DPM++ SDE Karras", None, ("DPM++ SDE", "karras")),
        ("  dpm++ 3m sde ", None, ("DPM++ 3M SDE", "exponential")),
        ("DDIM DDIM", None, ("DDIM", "uniform")),
        ("LCM", None, ("LCM", "uniform")),
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


def test_a_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(ContractError) as caught:
        resolve("x" * 1_000_000)
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_every_name_alias_and_letter_case_is_known(sampler: object) -> None:
    assert isinstance(sampler, type(SAMPLERS[0]))
    for name in (sampler.name, *sampler.aliases):
        for written in (name, name.upper(), name.lower()):
            assert resolve(written).sampler == sampler.name
            assert resolve(f"{written} Karras").sampler == sampler.name


@pytest.mark.parametrize("scheduler", SCHEDULERS[1:], ids=lambda scheduler: scheduler.name)
def test_every_scheduler_is_known_by_each_name_behind_a_sampler_and_beside_it(scheduler: object) -> None:
    assert isinstance(scheduler, type(SCHEDULERS[0]))
    for name in (scheduler.name, scheduler.label, *scheduler.aliases):
        for written in (name, name.upper()):
            assert resolve("Euler", written).scheduler == scheduler.name
            assert resolve(f"Euler {written}").scheduler == scheduler.name


@pytest.mark.parametrize(
    ("name", "scheduler", "expected", "told"),
    [
        ("foo", None, ("DPM++ 2M", "karras"), ["Sampler not found: 'foo'"]),
        ("foo Exponential", None, ("DPM++ 2M", "exponential"), ["Sampler not found: 'foo Exponential'"]),
        ("Euler", "nonsense", ("Euler", "uniform"), ["Scheduler not found: 'nonsense'"]),
        ("foo", "bar", ("DPM++ 2M", "karras"), ["Sampler not found: 'foo'", "Scheduler not found: 'bar'"]),
        ("Euler a", "karras", ("Euler a", "karras"), []),
    ],
)
def test_a_lenient_server_says_what_it_replaced(
    name: str, scheduler: str | None, expected: tuple[str, str], told: list[str]
) -> None:
    choice = resolve(name, scheduler, strict=False)
    assert choice == SamplerChoice(*expected)
    assert len(choice.warnings) == len(told)
    for warning, begins in zip(choice.warnings, told, strict=True):
        assert warning.startswith(begins)
        assert warning.endswith(" was used")


def test_the_label_is_what_infotext_writes() -> None:
    assert resolve("DPM++ 2M").label == "Karras"
    assert resolve("Euler").label == "Automatic"
    assert resolve("Euler", "uniform").label == "Uniform"
    assert resolve("DDIM", "Karras").label == "Automatic"


def test_the_order_and_options_that_clients_are_shown() -> None:
    assert [sampler.name for sampler in SAMPLERS] == [
        *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE"),
        *("Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart"),
        *("DDIM", "DDIM CFG++", "PLMS", "UniPC", "LCM"),
    ]
    options = {sampler.name: sampler.options for sampler in SAMPLERS}
    assert options["DPM++ 2M SDE Heun"] == {
        "scheduler": "exponential",
        "brownian_noise": "True",
        "solver_type": "heun",
    }
    assert options["DPM2 a"] == {
        "scheduler": "karras",
        "second_order": "True",
        "discard_next_to_last_sigma": "True",
        "uses_ensd": "True",
    }
    assert options["Euler"] == options["UniPC"] == {}


def test_what_clients_are_shown_of_schedulers() -> None:
    rho = {item.name: item.default_rho for item in SCHEDULERS if item.default_rho != -1}
    assert rho == {"karras": 7, "polyexponential": 1}
    needing = [item.name for item in SCHEDULERS if item.need_inner_model]
    assert needing == ["uniform", "sgm_uniform", "simple", "normal", "ddim", "beta"]
