"""Prompts of any length become conditioning in chunks of 75 tokens."""

from __future__ import annotations

import pytest
import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.text import ConditioningCache, encode_pair, encode_prompt, split_chunks

COMMA = 267


@pytest.fixture(autouse=True)
def empty_cache(checkpoint: Checkpoint) -> None:
    checkpoint.conditionings = ConditioningCache()


def encode(checkpoint: Checkpoint, prompt: str, clip_skip: int = 1) -> torch.Tensor:
    with torch.inference_mode():
        return encode_prompt(checkpoint, prompt, clip_skip)


@pytest.mark.parametrize(
    ("length", "sizes"), [(0, [0]), (1, [1]), (75, [75]), (76, [75, 1]), (150, [75, 75]), (151, [75, 75, 1])]
)
def test_chunk_sizes(length: int, sizes: list[int]) -> None:
    tokens = list(range(1000, 1000 + length))
    chunks = split_chunks(tokens, COMMA)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [token for chunk in chunks for token in chunk] == tokens


@pytest.mark.parametrize(
    ("comma_at", "first_chunk"),
    [
        (54, 75),  # 21 tokens back: too far
        (55, 56),  # 20 tokens back: the rest moves on
        (74, 75),
        (75, 75),  # the comma itself overflows: the phrase before it fits
    ],
)
def test_a_phrase_after_a_late_comma_moves_to_the_next_chunk(comma_at: int, first_chunk: int) -> None:
    tokens = [1] * 80
    tokens[comma_at] = COMMA
    chunks = split_chunks(tokens, COMMA)
    assert len(chunks[0]) == first_chunk
    assert sum(map(len, chunks)) == 80


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


def test_the_shorter_of_two_prompts_is_filled_with_empty_chunks(checkpoint: Checkpoint) -> None:
    with torch.inference_mode():
        positive, negative = encode_pair(checkpoint, " ".join(["cat"] * 100), "blurry")
    assert positive.shape == negative.shape == (1, 154, 32)
    torch.testing.assert_close(negative[:, :77], encode(checkpoint, "blurry"))
    torch.testing.assert_close(negative[:, 77:], encode(checkpoint, ""))


def test_a_prompt_is_encoded_once(checkpoint: Checkpoint) -> None:
    calls: list[int] = []
    hook = checkpoint.text_encoder.register_forward_hook(lambda module, inputs, output: calls.append(1))
    first, again = encode(checkpoint, "a cat"), encode(checkpoint, "a cat")
    other = encode(checkpoint, "a cat", clip_skip=2)
    hook.remove()
    assert again is first
    assert other is not first
    assert len(calls) == 2


def test_the_cache_drops_what_was_used_longest_ago() -> None:
    cache = ConditioningCache(size=2)
    tensors = [torch.zeros(1), torch.ones(1), torch.ones(2)]
    cache.put("a", 1, tensors[0])
    cache.put("b", 1, tensors[1])
    assert cache.get("a", 1) is tensors[0]
    cache.put("c", 1, tensors[2])
    assert len(cache) == 2
    assert cache.get("b", 1) is None
    assert cache.get("a", 1) is tensors[0]
