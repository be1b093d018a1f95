"""Infotext is written and read by the rules of the format."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from easel_contract import infotext
from easel_contract.infotext.defaults import DEFAULTS, uses_emphasis

WRITTEN = """a cat, (sitting:1.2)
on a mat
Negative prompt: ugly, blurry
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x768, Version: 1"""

FIRST = {"Steps": 20, "Sampler": "Euler", "Seed": 2}

texts = st.text(st.characters(exclude_categories=("Cs",)))


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


def test_the_reference_example() -> None:
    values = {
        "Steps": 20,
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": 7.0,
        "Seed": 1,
        "Size": "512x512",
        "Model hash": "6ce0161689",
        "Model": "v1-5-pruned-emaonly",
        "Version": "v1.10.1",
    }
    assert infotext.build("a cat", "ugly", values) == (
        "a cat\nNegative prompt: ugly\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, "
        "Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Version: v1.10.1"
    )


def test_keys_come_in_a1111s_order_and_others_as_they_were_given() -> None:
    given_ = ["User", "Version", "Hires upscale", "Tiling", "Mask blur", *reversed(infotext.KEYS[:-1])]
    assert list(infotext.in_order(dict.fromkeys(given_, 1))) == [
        *infotext.KEYS,
        "Hires upscale",
        "Mask blur",
        "Version",
        "User",
    ]


def test_no_negative_prompt_no_line() -> None:
    assert infotext.build("a", "", {"Steps": 1}) == "a\nSteps: 1"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a,b", '"a,b"'),
        ("a: b", '"a: b"'),
        ("two\nlines", '"two\\nlines"'),
        ('say "hi"', 'say "hi"'),
        ("ünï, x", '"ünï, x"'),
        (7.0, "7"),
        (6.5, "6.5"),
        (True, "True"),
        # These would be read back as something else.
        ('"', '"\\""'),
        (' "a"', '" \\"a\\""'),
        ('"a"', '"\\"a\\""'),
        (" blanks ", '" blanks "'),
    ],
)
def test_quotes(value: object, written: str) -> None:
    assert infotext.quote(value) == written


def test_parse_reads_prompts_pairs_and_sizes() -> None:
    found = infotext.parse(WRITTEN)
    assert found["Prompt"] == "a cat, (sitting:1.2)\non a mat"
    assert found["Negative prompt"] == "ugly, blurry"
    assert (found["Steps"], found["Sampler"], found["Schedule type"]) == ("20", "DPM++ 2M", "Karras")
    assert (found["Size-1"], found["Size-2"]) == ("512", "768")
    assert "Size" not in found
    assert found["Emphasis"] == "Original"


@pytest.mark.parametrize("key", ["Size", "Hires resize", "Seed resize from", "First pass size"])
def test_every_size_is_split(key: str) -> None:
    found = infotext.parse(f"x\nSteps: 1, Seed: 2, {key}: 640x384")
    assert (found[f"{key}-1"], found[f"{key}-2"]) == ("640", "384")


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


def test_a_value_that_is_there_beats_its_default() -> None:
    said = dict.fromkeys(DEFAULTS, "said")
    found = infotext.parse(infotext.build("(x)", "", {**said, "Emphasis": "No norm"}))
    assert {key: found[key] for key in DEFAULTS} == said
    assert found["Emphasis"] == "No norm"


def test_fewer_than_three_pairs_are_prompt() -> None:
    assert infotext.parse("x\nSteps: 1, Seed: 2")["Prompt"] == "x\nSteps: 1, Seed: 2"
    assert infotext.parse("x\nSteps: 1, Seed: 2, Size: 8x8")["Prompt"] == "x"


def test_parameters_alone_and_a_negative_prompt_alone() -> None:
    found = infotext.parse("Negative prompt: ugly\nSteps: 1, Seed: 2, Size: 8x8")
    assert (found["Prompt"], found["Negative prompt"]) == ("", "ugly")
    assert infotext.parse("Steps: 1, Seed: 2, Size: 8x8")["Prompt"] == ""


@pytest.mark.parametrize(
    ("old", "sampler", "schedule"),
    [
        ("DPM++ 2M Karras", "DPM++ 2M", "Karras"),
        ("DPM++ 2M SDE Exponential", "DPM++ 2M SDE", "Exponential"),
        ("Euler SGM Uniform", "Euler", "SGM Uniform"),
        ("LMS karras", "LMS", "Karras"),
        ("Euler a", "Euler a", "Automatic"),
        ("DDIM", "DDIM", "Automatic"),
        ("Karras", "Karras", "Automatic"),
    ],
)
def test_an_old_sampler_name_is_split(old: str, sampler: str, schedule: str) -> None:
    found = infotext.parse(f"x\nSteps: 1, Sampler: {old}, Seed: 2")
    assert (found["Sampler"], found["Schedule type"]) == (sampler, schedule)


def test_a_name_is_not_split_beside_a_schedule_type() -> None:
    found = infotext.parse("x\nSteps: 1, Sampler: LMS Karras, Schedule type: Beta, Seed: 2")
    assert (found["Sampler"], found["Schedule type"]) == ("LMS Karras", "Beta")


@pytest.mark.parametrize(
    ("prompt", "used"),
    [
        ("a cat", False),
        ("a (cat)", True),
        ("a [cat]", True),
        ("(a cat:1.3)", True),
        ("(a cat:1)", False),
        ("((a cat:1.0))", True),
        (r"a \(cat\)", False),
        ("()[]", False),
        ("open (ended", True),
        ("a) cat]", False),
        ("ratio 1:2", False),
    ],
)
def test_emphasis_is_told_only_where_it_is_used(prompt: str, used: bool) -> None:
    assert uses_emphasis(prompt) is used
    for text in (prompt, f"x\nNegative prompt: {prompt}"):
        assert infotext.parse(f"{text}\nSteps: 1, Seed: 2, Size: 8x8").get("Emphasis") == (
            "Original" if used else None
        )


def test_a_damaged_line_does_not_stop_the_reader() -> None:
    found = infotext.parse('p\nSteps: 1, :::, "broken: 3, Seed: 5, CFG scale: 7')
    assert (found["Steps"], found["Seed"], found["CFG scale"]) == ("1", "5", "7")
    assert infotext.parse('p\nSteps: 1, Odd: "open, Seed: 5, Size: 8x8')["Odd"] == '"open'
    # No answer could be encoded with half of a surrogate pair in it.
    assert infotext.parse('p\nSteps: 1, Odd: "\\ud800", Seed: 5')["Odd"] == '"\\ud800"'


def as_read(prompt: str) -> str:
    """A prompt without what the layout cannot hold: blanks around its lines, empty lines at its beginning."""
    return "\n".join(line.strip() for line in prompt.split("\n"))


@given(prompt=texts, negative=texts, values=st.lists(texts, min_size=1, max_size=5))
@example(prompt="a\nSteps: 1, Seed: 2, Size: 8x8", negative="", values=["x"])
@example(prompt="", negative="n\nNegative prompt: m", values=['"', '\\"', '",', ' "a"', "\\", "a\r"])
def test_what_is_written_is_read_back(prompt: str, negative: str, values: list[str]) -> None:
    if any(line.strip().startswith("Negative prompt:") for line in prompt.split("\n")):
        prompt = "marked: " + prompt.replace("Negative", "negative")
    extra = {f"Odd {index}": value for index, value in enumerate(values)}
    found = infotext.parse(infotext.build(prompt, negative, {**FIRST, **extra}))

    assert found["Prompt"] == as_read(prompt).lstrip()
    assert found["Negative prompt"] == as_read(negative)
    for key, value in extra.items():
        size = value.split("x")
        if len(size) == 2 and all(side.isascii() and side.isdigit() for side in size):
            assert [found[f"{key}-1"], found[f"{key}-2"]] == size
        else:
            assert found[key] == value


@given(st.text(st.sampled_from('ab:, "\\\n(x1-/[')) | texts)
def test_any_text_can_be_read(text: str) -> None:
    found = infotext.parse(text)
    assert isinstance(found["Prompt"], str)
    for value in found.values():
        str(value).encode()


HOSTILE = {
    "one word": "a" * 1_000_000,
    "blanks": "aa" + " " * 1_000_000,
    "blanks before a key": "," + " " * 1_000_000 + "aa",
    "brackets": "(" * 500_000 + ")" * 500_000,
    "escapes": "\\" * 1_000_000,
    "colons": ":" * 1_000_000,
    "open quotes": 'kk: "' * 200_000,
    "open quotes behind commas": ', kk: "' * 150_000,
    "escaped quotes": 'kk: "' + '\\"' * 500_000,
    "many quoted": ', kk: "a,b"' * 100_000,
    "wrong escapes": ', kk: "\\q"' * 100_000,
    "blanks behind quotes": ', kk: "a"' + " " * 1_000_000 + "x",
    "lines": "\n" * 1_000_000,
    "negative lines": "Negative prompt:\n" * 60_000,
    "weights": "(a:" + "1" * 1_000_000,
    "sampler": "Steps: 1, Seed: 1, Sampler: " + "karras " * 150_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_megabyte_of_anything_is_read_at_once(text: str) -> None:
    began = time.process_time()
    infotext.parse(text)
    # A reader of quadratic time needs minutes to hours for these; this one a quarter of a second.
    assert time.process_time() - began < 10
