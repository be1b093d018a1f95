"""Guidance around the random model's UNet: every combination against the UNet called by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import MAX_PARTS
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance import Guidance, GuidanceOptions
from easel_worker.diffusion.size_ids import refiner_ids
from easel_worker.diffusion.text import TextModel

from .guiding import CLOSE, SIGMA, noise, predict, prompts, text, with_unet
from .small_encoders import small_encoder, with_encoders

LONG = " ".join(["dog"] * 80)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@contextmanager
def counting_rows(checkpoint: Checkpoint) -> Iterator[list[int]]:
    """How many rows each forward pass had."""
    rows: list[int] = []
    hook = checkpoint.unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    yield rows
    hook.remove()


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0, 7.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_plain_guidance(cfg_scale: float, prediction: Any, checkpoint: Checkpoint) -> None:
    model = dataclasses.replace(checkpoint, prediction_type=prediction)
    x = noise()
    cond, uncond = (predict(model, x, text(model, t)) for t in ("a cat", "blurry"))
    got = Guidance(model, prompts(model, "a cat"), GuidanceOptions(cfg_scale=cfg_scale))(x, SIGMA)
    torch.testing.assert_close(got, uncond + cfg_scale * (cond - uncond), **CLOSE)


@pytest.mark.parametrize("cfg_scale", [1.0, 4.0])
def test_parts_are_added_by_their_weights(cfg_scale: float, checkpoint: Checkpoint) -> None:
    x = noise()
    cat, dog, uncond = (predict(checkpoint, x, text(checkpoint, t)) for t in ("a cat", " a dog", "blurry"))
    conditioning = prompts(checkpoint, "a cat :0.7 AND a dog:-0.4")
    got = Guidance(checkpoint, conditioning, GuidanceOptions(cfg_scale=cfg_scale))(x, SIGMA)
    expected = uncond + 0.7 * cfg_scale * (cat - uncond) - 0.4 * cfg_scale * (dog - uncond)
    torch.testing.assert_close(got, expected, **CLOSE)


def test_a_shorter_part_repeats_its_last_vector(checkpoint: Checkpoint) -> None:
    x = noise()
    short = text(checkpoint, "a cat")
    padded = torch.cat([short, short[:, -1:].expand(-1, 77, -1)], dim=1)
    cat = predict(checkpoint, x, padded)
    dogs, uncond = (predict(checkpoint, x, text(checkpoint, t)) for t in (f" {LONG}", "blurry"))
    got = Guidance(checkpoint, prompts(checkpoint, f"a cat AND {LONG}"), GuidanceOptions(cfg_scale=3))(
        x, SIGMA
    )
    torch.testing.assert_close(got, uncond + 3 * (cat - uncond) + 3 * (dogs - uncond), **CLOSE)


def test_the_negative_prompt_is_one_text(checkpoint: Checkpoint) -> None:
    x = noise()
    cond, uncond = (predict(checkpoint, x, text(checkpoint, t)) for t in ("a cat", "red AND blue"))
    got = Guidance(checkpoint, prompts(checkpoint, "a cat", negative="red AND blue"))(x, SIGMA)
    torch.testing.assert_close(got, uncond + 7 * (cond - uncond), **CLOSE)


@pytest.mark.parametrize(("positive", "negative"), [(LONG, "blurry"), ("a cat", LONG)])
def test_contexts_of_different_length_run_apart_or_are_padded(
    positive: str, negative: str, checkpoint: Checkpoint
) -> None:
    x = noise()
    cond, uncond, empty = (text(checkpoint, t) for t in (positive, negative, ""))
    conditioning = prompts(checkpoint, positive, negative=negative)

    def guided(cond: torch.Tensor, uncond: torch.Tensor) -> torch.Tensor:
        one, other = predict(checkpoint, x, cond), predict(checkpoint, x, uncond)
        return other + 7 * (one - other)

    with counting_rows(checkpoint) as rows:
        apart = Guidance(checkpoint, conditioning)(x, SIGMA)
        filled = Guidance(checkpoint, conditioning, GuidanceOptions(padding="empty"), empty=empty)(x, SIGMA)
        fitted = Guidance(checkpoint, conditioning, GuidanceOptions(padding="repeat"))(x, SIGMA)
    assert rows == [1, 1, 2, 2]
    torch.testing.assert_close(apart, guided(cond, uncond), **CLOSE)
    longer = [c if c.shape[1] == 154 else torch.cat([c, empty], dim=1) for c in (cond, uncond)]
    torch.testing.assert_close(filled, guided(*longer), **CLOSE)
    cut = torch.cat([uncond, uncond[:, -1:].expand(-1, 77, -1)], dim=1)[:, : cond.shape[1]]
    torch.testing.assert_close(fitted, guided(cond, cut), **CLOSE)


def test_padding_needs_the_empty_prompt(checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match="needs the encoded empty prompt"):
        Guidance(checkpoint, prompts(checkpoint, "a"), GuidanceOptions(padding="empty"))


def test_positive_and_negative_can_be_kept_apart(checkpoint: Checkpoint) -> None:
    x, conditioning = noise(2), prompts(checkpoint, "a cat", "a dog")
    together = Guidance(checkpoint, conditioning)
    apart = Guidance(checkpoint, conditioning, GuidanceOptions(batch_cond_uncond=False))
    with counting_rows(checkpoint) as rows:
        torch.testing.assert_close(together(x, SIGMA), apart(x, SIGMA), **CLOSE)
    assert rows == [4, 2, 2]


BATCH = ["a cat", LONG, "a cat AND a dog:0.5", f"{LONG} AND red AND [blue:green:1]:2"]
NEGATIVES = ["blurry", "", LONG, "[red|blue]"]


def test_a_batch_of_different_prompts_equals_single_runs(checkpoint: Checkpoint) -> None:
    x = noise(4)
    batch = Guidance(checkpoint, prompts(checkpoint, *BATCH, negative=NEGATIVES))
    got = [batch(x, SIGMA) for _ in range(3)]
    for i, (positive, negative) in enumerate(zip(BATCH, NEGATIVES, strict=True)):
        single = Guidance(checkpoint, prompts(checkpoint, positive, negative=negative))
        for step in range(3):
            torch.testing.assert_close(got[step][i : i + 1], single(x[i : i + 1], SIGMA), **CLOSE)


def test_many_parts_go_through_the_unet_in_turns(checkpoint: Checkpoint) -> None:
    x = noise()
    guidance = Guidance(
        checkpoint, prompts(checkpoint, " AND ".join(["a cat"] * 6)), GuidanceOptions(cfg_scale=2)
    )
    with counting_rows(checkpoint) as rows:
        got = guidance(x, SIGMA)
    assert rows == [4, 3]
    first, other, uncond = (
        predict(checkpoint, x, text(checkpoint, t)) for t in ("a cat", " a cat", "blurry")
    )
    torch.testing.assert_close(got, uncond + 2 * (first - uncond) + 10 * (other - uncond), **CLOSE)
    with pytest.raises(JobError, match=f"prompt: 33 prompts are joined by AND; at most {MAX_PARTS}"):
        prompts(checkpoint, " AND ".join(["a"] * 33))


def test_at_scale_one_the_negative_prompt_is_computed_only_where_it_counts(checkpoint: Checkpoint) -> None:
    x, one = noise(), GuidanceOptions(cfg_scale=1.0)
    with counting_rows(checkpoint) as rows:
        Guidance(checkpoint, prompts(checkpoint, "a cat"), one)(x, SIGMA)
        Guidance(checkpoint, prompts(checkpoint, "a cat :0.25 AND a dog :0.75"), one)(x, SIGMA)
        Guidance(checkpoint, prompts(checkpoint, "a cat :0.5"), one)(x, SIGMA)
        Guidance(checkpoint, prompts(checkpoint, "a cat"), one).pair(x, SIGMA, 1.0)
    assert rows == [1, 2, 2, 2]


def test_parts_that_sum_to_one_need_no_negative_prompt(checkpoint: Checkpoint) -> None:
    x = noise()
    cat, dog = (predict(checkpoint, x, text(checkpoint, t)) for t in ("a cat", " a dog"))
    conditioning = prompts(checkpoint, "a cat :0.25 AND a dog :0.75")
    got = Guidance(checkpoint, conditioning, GuidanceOptions(cfg_scale=1.0))(x, SIGMA)
    torch.testing.assert_close(got, 0.25 * cat + 0.75 * dog, **CLOSE)


@pytest.mark.parametrize(
    ("options", "sigma", "rows"),
    [
        ({"s_min_uncond": 5.0}, SIGMA, [2, 1, 2, 1]),
        ({"s_min_uncond": 5.0, "s_min_uncond_all": True}, SIGMA, [1, 1, 1, 1]),
        ({"s_min_uncond": 2.0, "s_min_uncond_all": True}, SIGMA, [2, 2, 2, 2]),
        ({"skip_early_cond": 0.25}, SIGMA, [1, 1, 2, 2]),
        ({}, 0.01, [2, 2, 2, 2]),
    ],
    ids=str,
)
def test_calls_without_the_negative_prompt(
    options: dict[str, Any], sigma: float, rows: list[int], checkpoint: Checkpoint
) -> None:
    x = noise()
    cond, uncond = (predict(checkpoint, x, text(checkpoint, t), sigma) for t in ("a cat", "blurry"))
    guidance = Guidance(checkpoint, prompts(checkpoint, "a cat"), GuidanceOptions(**options), calls=4)
    with counting_rows(checkpoint) as seen:
        got = [guidance(x, sigma) for _ in range(4)]
    assert seen == rows
    for denoised, count in zip(got, rows, strict=True):
        torch.testing.assert_close(denoised, cond if count == 1 else uncond + 7 * (cond - uncond), **CLOSE)


def test_without_the_negative_prompt_parts_are_relative_to_the_first(checkpoint: Checkpoint) -> None:
    x = noise()
    cat, dog = (predict(checkpoint, x, text(checkpoint, t)) for t in ("a cat", " a dog"))
    options = GuidanceOptions(s_min_uncond=5.0, s_min_uncond_all=True)
    got = Guidance(checkpoint, prompts(checkpoint, "a cat AND a dog:0.5"), options)(x, SIGMA)
    torch.testing.assert_close(got, cat + 0.5 * (dog - cat), **CLOSE)


@pytest.mark.parametrize("cfg_scale", [1.0, 7.0])
def test_a_sampler_may_ask_for_both_predictions(cfg_scale: float, checkpoint: Checkpoint) -> None:
    x = noise()
    cond, uncond = (predict(checkpoint, x, text(checkpoint, t)) for t in ("a cat", "blurry"))
    guidance = Guidance(checkpoint, prompts(checkpoint, "a cat"), GuidanceOptions(cfg_scale=cfg_scale))
    guided, negative = guidance.pair(x, SIGMA, 0.08)
    torch.testing.assert_close(negative, uncond, **CLOSE)
    torch.testing.assert_close(guided, uncond + 0.08 * cfg_scale * (cond - uncond), **CLOSE)
    assert guidance.call == 1
    options = GuidanceOptions(s_min_uncond=5.0, s_min_uncond_all=True)
    without = Guidance(checkpoint, prompts(checkpoint, "a cat"), options).pair(x, SIGMA, 0.08)
    for prediction in without:
        torch.testing.assert_close(prediction, cond, **CLOSE)


def test_prompts_change_with_the_calls(checkpoint: Checkpoint) -> None:
    x = noise()
    guidance = Guidance(checkpoint, prompts(checkpoint, "a [cat:dog:2] [x|y]", steps=4))
    got = [guidance(x, SIGMA) for _ in range(5)]
    # A1111 looks a call up as the first phase that ends with it or later: call 0 and 1 share step 1.
    seen = ["a cat x", "a cat x", "a cat y", "a dog x", "a dog y"]
    for denoised, prompt in zip(got, seen, strict=True):
        expected = Guidance(checkpoint, prompts(checkpoint, prompt))(x, SIGMA)
        torch.testing.assert_close(denoised, expected, **CLOSE)
    guidance.call = 0
    assert torch.equal(guidance(x, SIGMA), got[0])


@pytest.mark.parametrize("pictures", [1, 2])
def test_further_input_channels(pictures: int, checkpoint: Checkpoint) -> None:
    model = with_unet(checkpoint, in_channels=9)
    x, picture = noise(2), torch.randn(pictures, 5, 8, 8, generator=torch.Generator().manual_seed(1))
    got = Guidance(model, prompts(model, "a cat", "a cat"), picture=picture)(x, SIGMA)
    for i in range(2):
        own = picture[min(i, pictures - 1)][None]
        cond, uncond = (predict(model, x[i][None], text(model, t), picture=own) for t in ("a cat", "blurry"))
        torch.testing.assert_close(got[i : i + 1], uncond + 7 * (cond - uncond), **CLOSE)


@pytest.mark.parametrize("image_cfg_scale", [1.0, 1.5])
def test_guidance_by_a_picture(image_cfg_scale: float, checkpoint: Checkpoint) -> None:
    model = with_unet(checkpoint, in_channels=8)
    x, picture = noise(), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    options = GuidanceOptions(cfg_scale=5, image_cfg_scale=image_cfg_scale)
    got = Guidance(model, prompts(model, "a cat"), options, picture=picture)(x, SIGMA)
    cond, image = (predict(model, x, text(model, t), picture=picture) for t in ("a cat", "blurry"))
    if image_cfg_scale == 1.0:
        expected = image + 5 * (cond - image)
    else:
        blank = predict(model, x, text(model, "blurry"), picture=torch.zeros_like(picture))
        expected = blank + 5 * (cond - image) + image_cfg_scale * (image - blank)
    torch.testing.assert_close(got, expected, **CLOSE)


def test_sdxls_unet_gets_pooled_text_and_sizes(checkpoint: Checkpoint) -> None:
    model = with_unet(
        with_encoders(checkpoint, small_encoder(32), small_encoder(48, act="gelu", projection=40)),
        cross_attention_dim=80,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=40 + 5 * 8,
    )
    x, sizes = noise(2), refiner_ids(64, 64, device=torch.device("cpu"))
    got = Guidance(model, prompts(model, "a cat", "a dog", negative=""), size_ids=sizes)(x, SIGMA)
    for i, prompt in enumerate(("a cat", "a dog")):
        predictions = []
        for words, negative, ids in ((prompt, False, sizes.positive), ("", True, sizes.negative)):
            encoded = TextModel(model).encode(words, negative=negative)
            added = {"text_embeds": encoded.pooled, "time_ids": ids}
            predictions.append(predict(model, x[i][None], encoded.context, added_cond_kwargs=added))
        cond, uncond = predictions
        torch.testing.assert_close(got[i : i + 1], uncond + 7 * (cond - uncond), **CLOSE)
