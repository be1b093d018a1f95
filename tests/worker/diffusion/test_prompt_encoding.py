"""Prompts of any length become conditioning, weighted as A1111's modes say."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.emphasis import weigh
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.text import ConditioningCache, Encoded, TextModel, TextOptions


@pytest.fixture(autouse=True)
def empty_cache(checkpoint: Checkpoint) -> None:
    checkpoint.conditionings = ConditioningCache()


def encode(checkpoint: Checkpoint, prompt: str, **options: Any) -> torch.Tensor:
    with torch.inference_mode():
        return TextModel(checkpoint, TextOptions(**options)).encode(prompt).context


def test_one_chunk_is_what_the_text_encoder_says(checkpoint: Checkpoint) -> None:
    ids = checkpoint.tokenizer("a photo of a cat", padding="max_length", return_tensors="pt").input_ids
    with torch.inference_mode():
        expected = checkpoint.text_encoder(ids).last_hidden_state
    got = encode(checkpoint, "a photo of a cat")
    assert got.shape == (1, 77, 32)
    torch.testing.assert_close(got, expected)


def test_a_long_prompt_is_its_chunks_end_to_end(checkpoint: Checkpoint) -> None:
    first, second = " ".join(["cat"] * 75), " ".join(["dog"] * 10)
    long = encode(checkpoint, f"{first} {second}")
    assert long.shape == (1, 154, 32)
    torch.testing.assert_close(long[:, :77], encode(checkpoint, first))
    torch.testing.assert_close(long[:, 77:], encode(checkpoint, second))


def test_break_begins_a_chunk(checkpoint: Checkpoint) -> None:
    both = encode(checkpoint, "a cat BREAK a dog")
    assert both.shape == (1, 154, 32)
    torch.testing.assert_close(both[:, :77], encode(checkpoint, "a cat"))
    torch.testing.assert_close(both[:, 77:], encode(checkpoint, "a dog"))


def test_the_comma_rule_is_an_option(checkpoint: Checkpoint) -> None:
    prompt = " ".join(["cat"] * 69) + ", one two three four five six seven"
    assert encode(checkpoint, prompt).shape == encode(checkpoint, prompt, backtrack=0).shape == (1, 154, 32)
    assert not torch.equal(encode(checkpoint, prompt), encode(checkpoint, prompt, backtrack=0))


def test_clip_skip_stops_a_layer_early(checkpoint: Checkpoint) -> None:
    ids = checkpoint.tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
    kept: list[torch.Tensor] = []
    hook = checkpoint.text_encoder.encoder.layers[0].register_forward_hook(
        lambda module, inputs, output: kept.append(output)
    )
    with torch.inference_mode():
        checkpoint.text_encoder(ids)
        expected = checkpoint.text_encoder.final_layer_norm(kept[0])
    hook.remove()
    got = encode(checkpoint, "a cat", clip_skip=2)
    torch.testing.assert_close(got, expected)
    assert float((got - encode(checkpoint, "a cat")).abs().max()) > 0.01


@pytest.mark.parametrize("clip_skip", [0, 3, -1])
def test_clip_skip_beyond_the_layers_is_refused(clip_skip: int, checkpoint: Checkpoint) -> None:
    with pytest.raises(JobError, match=f"clip_skip: {clip_skip} should be 1 to 2"):
        encode(checkpoint, "a cat", clip_skip=clip_skip)


def weights_of(checkpoint: Checkpoint, *words: tuple[str, float]) -> torch.Tensor:
    """(1, 77, 1): BOS, the words' tokens, the rest at 1."""
    row = [1.0]
    for word, weight in words:
        row += [weight] * len(checkpoint.tokenizer(word, add_special_tokens=False).input_ids)
    return torch.tensor(row + [1.0] * (77 - len(row)))[None, :, None]


@pytest.fixture
def biased(checkpoint: Checkpoint) -> Checkpoint:
    """As real encoders are: the final norm's output has a mean. The random model's has none."""
    encoder = copy.deepcopy(checkpoint.text_encoder)
    encoder.final_layer_norm.bias += 0.1
    return dataclasses.replace(checkpoint, text_encoder=encoder, conditionings=ConditioningCache())


def test_emphasis_modes_are_their_formulas(biased: Checkpoint) -> None:
    checkpoint = biased
    prompt = "a (photo:1.4) of [a cat]"
    plain = encode(checkpoint, "a photo of a cat").double()
    weights = weights_of(checkpoint, ("a", 1), ("photo", 1.4), ("of", 1), ("a cat", 1 / 1.1)).double()
    multiplied = plain * weights
    torch.testing.assert_close(
        encode(checkpoint, prompt, emphasis="No norm").double(), multiplied, atol=1e-5, rtol=0
    )
    restored = multiplied * (plain.mean() / multiplied.mean())
    original = encode(checkpoint, prompt)
    torch.testing.assert_close(original.double(), restored, atol=1e-4, rtol=1e-4)
    assert float((restored - multiplied).abs().max()) > 1e-3
    assert float(original.mean()) == pytest.approx(float(plain.mean()), abs=1e-6)
    assert torch.equal(encode(checkpoint, prompt, emphasis="Ignore"), encode(checkpoint, "a photo of a cat"))
    ids = checkpoint.tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
    with torch.inference_mode():
        literal = checkpoint.text_encoder(ids).last_hidden_state
    torch.testing.assert_close(encode(checkpoint, prompt, emphasis="None"), literal)


def test_each_chunk_keeps_its_own_mean(biased: Checkpoint) -> None:
    both = encode(biased, "a (cat:1.5) BREAK (a dog:0.3)")
    torch.testing.assert_close(both[:, :77], encode(biased, "a (cat:1.5)"))
    torch.testing.assert_close(both[:, 77:], encode(biased, "(a dog:0.3)"))


def test_break_is_text_without_emphasis(checkpoint: Checkpoint) -> None:
    assert encode(checkpoint, "a BREAK b", emphasis="None").shape == (1, 77, 32)
    assert encode(checkpoint, "a BREAK b", emphasis="Ignore").shape == (1, 154, 32)


def test_weights_are_computed_in_full_precision() -> None:
    encoded = torch.randn(1, 77, 8, generator=torch.Generator().manual_seed(0)).half()
    weights = torch.full((1, 77), 1.2)
    assert weigh(encoded, weights, "No norm").dtype == torch.float16
    torch.testing.assert_close(weigh(encoded, weights, "Original"), encoded)


@pytest.mark.parametrize("numbers", [[1.0, 1.0], [1.0, -1.0], [1.0, -1.0000001]])
def test_a_mean_of_nothing_does_not_scale(numbers: list[float]) -> None:
    encoded = torch.tensor(numbers)[None, :, None]
    weights = torch.tensor([[1.0, -1.0]])
    assert torch.equal(weigh(encoded, weights, "Original"), weigh(encoded, weights, "No norm"))


def test_a_prompt_is_encoded_once_for_each_way_to_encode_it(checkpoint: Checkpoint) -> None:
    calls: list[int] = []
    hook = checkpoint.text_encoder.register_forward_hook(lambda module, inputs, output: calls.append(1))
    first, again = encode(checkpoint, "a (cat)"), encode(checkpoint, "a (cat)")
    ways = [{"clip_skip": 2}, {"emphasis": "No norm"}, {"emphasis": "Ignore"}, {"emphasis": "None"}]
    others = [encode(checkpoint, "a (cat)", **way) for way in ways for _ in range(2)]
    with torch.inference_mode():
        changed = TextModel(checkpoint, adapters=("ink", 0.5)).encode("a (cat)").context
    hook.remove()
    assert again is first
    assert all(one is two for one, two in zip(others[::2], others[1::2], strict=True))
    assert changed is not first
    assert len(calls) == 6


def test_the_cache_drops_what_was_used_longest_ago() -> None:
    entries = [Encoded(torch.zeros(1, 77, n)) for n in (1, 1, 1, 5)]
    cache = ConditioningCache(max_bytes=2 * 77 * 4)
    cache.put("a", entries[0])
    cache.put("b", entries[1])
    assert cache.get("a") is entries[0]
    cache.put("c", entries[2])
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (entries[0], None, entries[2])
    cache.put("large", entries[3])
    assert (len(cache), cache.get("large")) == (1, entries[3])
    cache.put("large", entries[0])
    cache.put("a", entries[1])
    assert len(cache) == 2


@pytest.mark.parametrize("prompt", ["(" * 20_000, "[a:b:" * 4_000, "é猫\u0000😀" * 500, "a" * 20_000])
def test_strange_prompts_are_encoded(prompt: str, checkpoint: Checkpoint) -> None:
    context = encode(checkpoint, prompt)
    assert context.shape[1] % 77 == 0
    assert bool(torch.isfinite(context).all())
