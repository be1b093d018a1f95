"""Infotext is written and read by the rules of the format."""

from __future__ import annotations

import pytest

from easel_contract import infotext

WRITTEN = """a cat, (sitting:1.2)
on a mat
Negative prompt: ugly, blurry
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x768, Version: 1"""


def test_build_writes_the_layout() -> None:
    text = infotext.build(
        "a cat",
        "ugly",
        {
            "Steps": 20,
            "Sampler": "Euler",
            "VAE": None,
            "Size": "64x64",
            "Note": "a: b, c",
            "Version": "Easel 0.1",
        },
    )
    assert text == (
        "a cat\nNegative prompt: ugly\n"
        'Steps: 20, Sampler: Euler, Size: 64x64, Note: "a: b, c", Version: Easel 0.1'
    )


def test_no_negative_prompt_no_line() -> None:
    assert infotext.build("a", "", {"Steps": 1}) == "a\nSteps: 1"


def test_parse_reads_prompts_pairs_and_sizes() -> None:
    found = infotext.parse(WRITTEN)
    assert found["Prompt"] == "a cat, (sitting:1.2)\non a mat"
    assert found["Negative prompt"] == "ugly, blurry"
    assert (found["Steps"], found["Sampler"], found["Schedule type"]) == ("20", "DPM++ 2M", "Karras")
    assert (found["Size-1"], found["Size-2"]) == ("512", "768")
    assert "Size" not in found
    assert found["Emphasis"] == "Original"


def test_text_without_parameters_is_all_prompt() -> None:
    assert infotext.parse("hello") == {
        "Prompt": "hello",
        "Negative prompt": "",
        "Clip skip": "1",
        "Hires resize-1": 0,
        "Hires resize-2": 0,
        "Hires sampler": "Use same sampler",
        "Hires schedule type": "Use same scheduler",
        "Hires checkpoint": "Use same checkpoint",
        "Hires prompt": "",
        "Hires negative prompt": "",
        "Mask mode": "Inpaint masked",
        "Masked content": "original",
        "Inpaint area": "Whole picture",
        "Masked area padding": 32,
        "RNG": "GPU",
        "Schedule type": "Automatic",
        "Schedule max sigma": 0,
        "Schedule min sigma": 0,
        "Schedule rho": 0,
        "VAE Encoder": "Full",
        "VAE Decoder": "Full",
        "FP8 weight": "Disable",
        "Refiner switch by sampling steps": False,
    }


def test_fewer_than_three_pairs_are_prompt() -> None:
    assert infotext.parse("x\nSteps: 1, Seed: 2")["Prompt"] == "x\nSteps: 1, Seed: 2"


def test_an_old_sampler_name_is_split() -> None:
    found = infotext.parse("x\nSteps: 1, Sampler: DPM++ 2M Karras, Seed: 2")
    assert (found["Sampler"], found["Schedule type"]) == ("DPM++ 2M", "Karras")


@pytest.mark.parametrize("value", ["plain", "a,b", "a: b", 'say "hi", twice', "two\nlines", '"', "ünï"])
def test_values_survive_the_round_trip(value: str) -> None:
    text = infotext.build("p", "n", {"Steps": 1, "Seed": 2, "Odd": value, "End": "x"})
    assert infotext.parse(text)["Odd"] == value


def test_a_damaged_line_does_not_stop_the_reader() -> None:
    found = infotext.parse('p\nSteps: 1, :::, "broken: 3, Seed: 5, CFG scale: 7')
    assert (found["Steps"], found["Seed"], found["CFG scale"]) == ("1", "5", "7")
