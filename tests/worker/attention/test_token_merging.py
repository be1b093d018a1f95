"""Token merging: the matching against a slow one by the paper's words, and pictures with it."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from easel_worker.diffusion.attention.attach import attention_units
from easel_worker.diffusion.attention.units import Reference
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.token_merging import match, merges, token_merging

from ...looking import look
from ..diffusion.test_tiling import snapshot
from .small_pass import SIGMA, guidance, noise, picture

Step = dict[int, list[int]]


def slowly(tokens: torch.Tensor, size: tuple[int, int], ratio: float) -> tuple[Step, list[int]]:
    """Of one row: for each place that stays those that are merged into it, and the places that are kept."""
    height, width = size
    places = [(y, x) for y in range(height) for x in range(width)]
    stay = [y * width + x for y, x in places if y % 2 == x % 2 == 0 and y + 1 < height and x + 1 < width]
    others = [n for n in range(height * width) if n not in stay]
    best = {n: max((float(cosine_similarity(tokens[n], tokens[m], 0)), m) for m in stay) for n in others}
    chosen = sorted(others, key=lambda n: -best[n][0])[: int(height * width * ratio)]
    into: Step = {m: [n for n in chosen if best[n][1] == m] for m in stay}
    return into, [n for n in others if n not in chosen]


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 2)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_the_most_alike_are_merged_into_their_partners(size: tuple[int, int], ratio: float) -> None:
    height, width = size
    tokens = torch.randn((2, height * width, 5), generator=torch.Generator().manual_seed(height))
    found = match(tokens, size, ratio)
    merged, back = found.merge(tokens), found.unmerge(found.merge(tokens))
    for row in range(2):
        into, kept = slowly(tokens[row], size, ratio)
        assert merged.shape[1] == len(into) + len(kept)
        for place, others in into.items():
            mean = tokens[row, [place, *others]].mean(dim=0)
            for n in (place, *others):
                torch.testing.assert_close(back[row, n], mean)
        for n in kept:
            torch.testing.assert_close(back[row, n], tokens[row, n])


def test_what_is_alike_loses_nothing() -> None:
    block = torch.randn((1, 3, 3, 8), generator=torch.Generator().manual_seed(2))
    tokens = block.repeat_interleave(2, 1).repeat_interleave(2, 2).reshape(1, 36, 8)
    found = match(tokens, (6, 6), 0.75)
    assert found.merge(tokens).shape[1] == 9
    torch.testing.assert_close(found.unmerge(found.merge(tokens)), tokens)


def test_the_unet_is_as_before_and_ratio_0_is_nothing(shapes: Checkpoint) -> None:
    model, x = guidance(shapes), noise()
    before, plain = snapshot(shapes.unet), model(x, SIGMA)
    with token_merging(shapes.unet, 0.0):
        torch.testing.assert_close(model(x, SIGMA), plain, rtol=0, atol=0)
    with ExitStack() as stack:
        stack.enter_context(suppress(ZeroDivisionError))
        stack.enter_context(token_merging(shapes.unet, 0.5))
        assert (model(x, SIGMA) - plain).abs().max() > 1e-3
        raise ZeroDivisionError
    assert snapshot(shapes.unet) == before
    hooks = [m for m in shapes.unet.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks
    torch.testing.assert_close(model(x, SIGMA), plain, rtol=0, atol=0)


def test_each_picture_of_a_batch_is_that_of_a_single_run(shapes: Checkpoint) -> None:
    x = noise(2)
    with token_merging(shapes.unet, 0.5):
        both = guidance(shapes, ("a cat", "a dog"))(x, SIGMA)
        alone = guidance(shapes, ("a dog",))(x[1:], SIGMA)
    torch.testing.assert_close(both[1:], alone, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("side", [8, 6])
def test_it_goes_with_references_of_any_size(shapes: Checkpoint, side: int) -> None:
    latent = torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(1))
    unit = Reference("reference_only", latent=latent, noise=latent.flip(-1), style_fidelity=0.5)
    model, x = guidance(shapes), noise()
    with attention_units(model, [unit]):
        plain = model(x, SIGMA)
        with token_merging(shapes.unet, 0.5):
            merged = model(x, SIGMA)
        torch.testing.assert_close(model(x, SIGMA), plain, rtol=0, atol=0)
    assert (merged - plain).abs().max() > 1e-3
    assert torch.isfinite(merged).all()


def test_without_attention_at_full_size_there_is_nothing_to_merge(
    shapes: Checkpoint, sdxl: Checkpoint
) -> None:
    assert merges(shapes.unet)
    assert not merges(sdxl.unet)
    model, x = guidance(sdxl), noise()
    plain = model(x, SIGMA)
    with token_merging(sdxl.unet, 0.5):
        torch.testing.assert_close(model(x, SIGMA), plain, rtol=0, atol=0)


def test_a_trained_model_draws_the_same_thing(shapes: Checkpoint) -> None:
    words = "a green star on a yellow background"
    plain = picture(shapes, words)
    with token_merging(shapes.unet, 0.3):
        merged = picture(shapes, words)
    assert look(merged).words == look(plain).words == "green star on yellow"
    assert 0 < np.abs(merged.astype(int) - plain).mean() < 20
