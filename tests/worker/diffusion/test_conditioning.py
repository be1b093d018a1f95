"""Which texts act at which model call, and how often they are encoded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import save_file

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import Conditioning, make_conditioning
from easel_worker.diffusion.embeddings import EmbeddingFolder
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.text import ConditioningCache, TextModel


@pytest.fixture(autouse=True)
def fresh(checkpoint: Checkpoint) -> Iterator[None]:
    checkpoint.conditionings = ConditioningCache()
    with torch.inference_mode():
        yield


def texts_at(checkpoint: Checkpoint, conditioning: Conditioning, call: int, *candidates: str) -> list[str]:
    """The candidates that the first image's parts are at a call."""
    text = TextModel(checkpoint)
    by_encoding = {id(text.encode(candidate)): candidate for candidate in candidates}
    return [by_encoding[id(encoded)] for _, encoded in conditioning.at(call).parts[0]]


def test_calls_see_the_phase_that_is_not_over(checkpoint: Checkpoint) -> None:
    conditioning = make_conditioning(TextModel(checkpoint), ["a [cat:dog:2]"], [""], PromptSteps(5))
    seen = [texts_at(checkpoint, conditioning, call, "a cat", "a dog") for call in range(7)]
    assert seen == [["a cat"]] * 3 + [["a dog"]] * 4


def test_second_order_samplers_count_calls(checkpoint: Checkpoint) -> None:
    conditioning = make_conditioning(TextModel(checkpoint), ["[a:b:0.5]"], [""], PromptSteps(2 * 4))
    seen = [texts_at(checkpoint, conditioning, call, "a", "b") for call in range(8)]
    assert seen == [["a"]] * 5 + [["b"]] * 3


def test_the_hires_pass_sees_its_own_part(checkpoint: Checkpoint) -> None:
    steps = PromptSteps(10, hires_steps=4)
    conditioning = make_conditioning(TextModel(checkpoint), ["[a:b:0.5] [c:d:1.5]"], [""], steps)
    seen = [texts_at(checkpoint, conditioning, call, "b c", "b d") for call in range(4)]
    assert seen == [["b c"]] * 3 + [["b d"]]


def test_every_part_has_its_own_phases(checkpoint: Checkpoint) -> None:
    conditioning = make_conditioning(
        TextModel(checkpoint), ["[a:b:1] AND [c:d:3]:2"], ["[e:f:2]"], PromptSteps(4)
    )
    candidates = ("a", "b", " c", " d")
    seen = [texts_at(checkpoint, conditioning, call, *candidates) for call in range(5)]
    assert seen == [["a", " c"], ["a", " c"], ["b", " c"], ["b", " c"], ["b", " d"]]
    assert [weight for weight, _ in conditioning.at(0).parts[0]] == [1.0, 2.0]
    assert conditioning.at(2).negatives == conditioning.at(0).negatives
    assert conditioning.at(3).negatives != conditioning.at(2).negatives


def test_a_moment_stays_while_nothing_changes(checkpoint: Checkpoint) -> None:
    conditioning = make_conditioning(TextModel(checkpoint), ["[a|b]", "c"], ["", ""], PromptSteps(6))
    assert conditioning.at(0) is conditioning.at(1)
    assert conditioning.at(1) != conditioning.at(2)
    assert conditioning.at(1) == conditioning.at(3)  # the alternation is back
    assert conditioning.at(99) is conditioning.at(6)
    assert len(conditioning) == 2


def test_each_text_is_encoded_once(checkpoint: Checkpoint) -> None:
    calls: list[int] = []
    hook = checkpoint.text_encoder.register_forward_hook(lambda module, inputs, output: calls.append(1))
    for _ in range(2):
        prompts = ["[a|b|c] AND a", "a", "[a:b:3]"]
        make_conditioning(TextModel(checkpoint), prompts, ["a", "x", "x"], PromptSteps(12))
    hook.remove()
    assert len(calls) == len({"a", "b", "c", " a", "x"})


def test_used_embeddings_are_known(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("embeddings")
    for name in ("zorglub", "fnord", "unused"):
        save_file({"emb_params": torch.randn(1, 32)}, folder / f"{name}.safetensors")
    text = TextModel(checkpoint, embeddings=EmbeddingFolder(folder))
    prompts = ["a [fnord:zorglub:0.5]", "fnord"]
    conditioning = make_conditioning(text, prompts, ["", "zorglub"], PromptSteps(4))
    assert sorted(embedding.name for embedding in conditioning.embeddings) == ["fnord", "zorglub"]


@pytest.mark.parametrize(
    "prompt",
    [
        f"[{'|'.join('abcdefgh')}] " + "BREAK " * 149 + "x",  # another long text at every step
        " AND ".join(["a"] * 30) + " AND " + "BREAK " * 49 + "x",  # every part as long as the longest
    ],
    ids=["alternation", "parts"],
)
def test_a_prompt_cannot_ask_for_any_amount_of_memory(prompt: str, checkpoint: Checkpoint) -> None:
    calls: list[int] = []
    hook = checkpoint.text_encoder.register_forward_hook(lambda module, inputs, output: calls.append(1))
    with pytest.raises(JobError, match="prompt: its texts need more than 1024 chunks of 75 tokens"):
        make_conditioning(TextModel(checkpoint), [prompt], [""], PromptSteps(20))
    hook.remove()
    assert len(calls) < 8


def test_a_batch_has_an_image() -> None:
    with pytest.raises(JobError, match="prompt: at least one is needed"):
        Conditioning([])
