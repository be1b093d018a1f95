"""What is cut out of a prompt before it is read."""

from __future__ import annotations

import pytest
from hypothesis import given

from easel_worker.diffusion.prompts.comments import strip_comments
from easel_worker.diffusion.prompts.networks import CutPrompt, NetworkTag, cut_networks

from .grammar_text import NESTED, long_prompt, prompts


def tag(written: str, name: str, te: float, unet: float, dyn: int | None = None) -> NetworkTag:
    return NetworkTag("lora", name, te, unet, dyn, written)


@pytest.mark.parametrize(
    ("written", "name", "te", "unet", "dyn"),
    [
        ("<lora:ink>", "ink", 1.0, 1.0, None),
        ("<lora:ink:0.5>", "ink", 0.5, 0.5, None),
        ("<lora:ink:0.5:0.8>", "ink", 0.5, 0.8, None),
        ("<lora:ink:0.5:0.8:8>", "ink", 0.5, 0.8, 8),
        ("<lora:ink:te=0.5:unet=0.8:dyn=8>", "ink", 0.5, 0.8, 8),
        ("<lora:ink:0.5:unet=0>", "ink", 0.5, 0.0, None),
        ("<lora:ink:unet=0.3>", "ink", 1.0, 0.3, None),
        ("<lora:yaeMikoRealistic_Genshin:1000>", "yaeMikoRealistic_Genshin", 1000.0, 1000.0, None),
        ("<lora:ink-v=2: -1 >", "ink-v=2", -1.0, -1.0, None),
        ("<lyco:ink:0.5>", "ink", 0.5, 0.5, None),
    ],
)
def test_arguments(written: str, name: str, te: float, unet: float, dyn: int | None) -> None:
    cut = cut_networks(f"a cat {written}, sitting")
    assert cut.text == "a cat , sitting"
    assert cut.networks == (tag(written, name, te, unet, dyn),)
    assert cut.problems == ()


def test_the_default_multiplier_is_an_option() -> None:
    assert cut_networks("<lora:a><lora:b:1>", 0.7).networks == (
        tag("<lora:a>", "a", 0.7, 0.7),
        tag("<lora:b:1>", "b", 1.0, 1.0),
    )


def test_hypernetworks_have_one_multiplier() -> None:
    cut = cut_networks("<hypernet:anime:0.6>")
    assert cut.networks == (NetworkTag("hypernet", "anime", 0.6, 0.6, None, "<hypernet:anime:0.6>"),)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("<foo:bar>", "'<foo:bar>': there is no kind of network called 'foo'"),
        ("<lora::1>", "the network has no name"),
        ("<lora:ink:much>", "te 'much' is not a number"),
        ("<lora:ink:1:nan>", "unet 'nan' is not a finite number"),
        ("<lora:ink:dyn=1.5>", "dyn '1.5' is not a rank"),
        ("<lora:ink:1:1:0>", "dyn '0' is not a rank"),
        ("<lora:ink:1:1:1:1>", "too many arguments"),
        ("<hypernet:ink:1:2>", "too many arguments"),
    ],
)
def test_a_tag_that_says_nothing_is_cut_out_and_told(written: str, problem: str) -> None:
    cut = cut_networks(f"a {written}b")
    assert (cut.text, cut.networks) == ("a b", ())
    assert len(cut.problems) == 1
    assert problem in cut.problems[0]


@pytest.mark.parametrize(
    "text", ["a <b> c", "<lora:>", "1 < 2: yes", "<lora:ink", "<:x>", "< lora:x>", "a>b"]
)
def test_what_is_no_tag_stays(text: str) -> None:
    assert cut_networks(text) == CutPrompt(text, ())


def test_a_tag_ends_at_the_first_closing_bracket() -> None:
    assert cut_networks("<lora:<lora:b>>").text == ">"


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        ("a cat", "a cat"),
        ("a cat # not a dog", "a cat "),
        ("a cat # one\nand two # three", "a cat \nand two "),
        ("# whole line\na cat\n#", "a cat"),
        ("a\n\nb", "a\n\nb"),
        ("#", ""),
    ],
)
def test_comments(prompt: str, kept: str) -> None:
    assert strip_comments(prompt) == kept


@given(prompts())
def test_any_text_can_be_cut(prompt: str) -> None:
    cut = cut_networks(prompt)
    assert len(cut.text) <= len(prompt)
    assert cut_networks(strip_comments(prompt)).text.count("#") == 0


@pytest.mark.parametrize("pattern", [*NESTED, "<a:b", "<a:b>"])
def test_long_prompts_are_read_at_once(pattern: str) -> None:
    prompt = long_prompt(pattern)
    assert len(cut_networks(strip_comments(prompt)).text) <= len(prompt)
