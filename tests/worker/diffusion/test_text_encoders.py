"""Each family of Stable Diffusion reads its text encoders in its own way."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.size_ids import base_ids, refiner_ids
from easel_worker.diffusion.text import Encoded, TextModel, TextOptions

from .small_encoders import small_encoder, with_encoders

LONG = " ".join(["cat"] * 80)


def encode(checkpoint: Checkpoint, text: str, *, negative: bool = False, **options: Any) -> Encoded:
    with torch.inference_mode():
        return TextModel(checkpoint, TextOptions(**options)).encode(text, negative=negative)


def run(module: Any, checkpoint: Checkpoint, text: str, *, pad: int) -> Any:
    """The module's own output for a text of one chunk."""
    ids = checkpoint.tokenizer(text, add_special_tokens=False).input_ids
    row = [49406, *ids, 49407]
    with torch.inference_mode():
        return module(torch.tensor([row + [pad] * (77 - len(row))]), output_hidden_states=True)


@pytest.fixture(scope="module")
def sdxl(checkpoint: Checkpoint) -> Checkpoint:
    return with_encoders(checkpoint, small_encoder(32), small_encoder(48, act="gelu", projection=40))


def test_sdxl_lays_two_penultimate_layers_side_by_side(sdxl: Checkpoint) -> None:
    got = encode(sdxl, "a red cat")
    small = run(sdxl.text_encoder, sdxl, "a red cat", pad=49407)
    big = run(sdxl.text_encoder_2, sdxl, "a red cat", pad=0)
    assert got.context.shape == (1, 77, 32 + 48)
    torch.testing.assert_close(got.context[..., :32], small.hidden_states[-2])
    torch.testing.assert_close(got.context[..., 32:], big.hidden_states[-2])
    assert got.pooled is not None
    torch.testing.assert_close(got.pooled, big.text_embeds)
    assert got.pooled.shape == (1, 40)


def test_sdxls_pooled_vector_is_the_first_chunks(sdxl: Checkpoint) -> None:
    one, two = encode(sdxl, "a dog BREAK a cat"), encode(sdxl, "a dog")
    assert one.context.shape == (1, 154, 80)
    assert one.pooled is not None
    assert two.pooled is not None
    torch.testing.assert_close(one.pooled, two.pooled)
    weighted = encode(sdxl, "a (dog:1.5)")
    assert weighted.pooled is not None
    torch.testing.assert_close(weighted.pooled, two.pooled)  # weights act on tokens only
    assert float((weighted.context - two.context).abs().max()) > 0.01


def test_sdxls_clip_skip_is_for_the_first_encoder_and_by_option(sdxl: Checkpoint) -> None:
    usual = encode(sdxl, "a cat")
    assert torch.equal(encode(sdxl, "a cat", clip_skip=9).context, usual.context)
    states = run(sdxl.text_encoder, sdxl, "a cat", pad=49407).hidden_states
    for skip in (1, 2, 3):
        skipped = encode(sdxl, "a cat", clip_skip=skip, clip_l_skip=True).context
        torch.testing.assert_close(skipped[..., :32], states[-skip])
        torch.testing.assert_close(skipped[..., 32:], usual.context[..., 32:])
    with pytest.raises(JobError, match="clip_skip: 9 should be 1 to 3"):
        encode(sdxl, "a cat", clip_skip=9, clip_l_skip=True)


def test_sdxls_empty_negative_prompt_is_zero(sdxl: Checkpoint) -> None:
    empty = encode(sdxl, "", negative=True)
    assert empty.pooled is not None
    assert not empty.context.any()
    assert not empty.pooled.any()
    assert empty.context.shape == (1, 77, 80)
    assert encode(sdxl, "").context.any()
    assert encode(sdxl, " ", negative=True).context.any()


def test_the_refiner_has_the_big_encoder_alone(checkpoint: Checkpoint) -> None:
    refiner = with_encoders(checkpoint, small_encoder(48, act="gelu", projection=40))
    got = encode(refiner, "a cat")
    output = run(refiner.text_encoder, refiner, "a cat", pad=0)
    torch.testing.assert_close(got.context, output.hidden_states[-2])
    assert got.pooled is not None
    torch.testing.assert_close(got.pooled, output.text_embeds)


@pytest.mark.parametrize(("layers", "depth"), [(23, 1), (24, 2)])
def test_sd2_takes_openclips_penultimate_layer_and_pads_with_zero(
    layers: int, depth: int, checkpoint: Checkpoint
) -> None:
    sd2 = with_encoders(checkpoint, small_encoder(32, layers=layers, act="gelu"))
    got = encode(sd2, "a cat")
    output = run(sd2.text_encoder, sd2, "a cat", pad=0)
    with torch.inference_mode():
        states = [sd2.text_encoder.final_layer_norm(state) for state in output.hidden_states]
    torch.testing.assert_close(got.context, states[-depth], atol=1e-5, rtol=1e-4)
    assert got.pooled is None
    assert torch.equal(encode(sd2, "a cat", clip_skip=12).context, got.context)
    assert encode(sd2, "", negative=True).context.any()
    assert encode(sd2, LONG).context.shape == (1, 154, 32)


def test_size_ids() -> None:
    device = torch.device("cpu")
    base = base_ids(640, 512, crop_top=3, crop_left=4, device=device)
    assert base.positive.tolist() == base.negative.tolist() == [[512, 640, 3, 4, 512, 640]]
    refiner = refiner_ids(640, 512, device=device)
    assert refiner.positive.tolist() == [[512, 640, 0, 0, 6.0]]
    assert refiner.negative.tolist() == [[512, 640, 0, 0, 2.5]]
