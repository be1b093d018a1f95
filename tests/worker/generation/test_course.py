"""A task on its way: progress, previews, and the ways in which it ends early."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from easel_contract.events import Progress
from easel_contract.infotext import parse
from easel_worker.diffusion import previews
from easel_worker.diffusion.errors import NanError
from easel_worker.job import Job, JobStoppedError, StopReason

from ..desk import SMALL, Answer, Desk, Pixels, difference, infotext_of, largest_difference, pixels
from .conftest import OTHER, add_variant

HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 3, "denoising_strength": 0.6}

Act = Callable[[Job, Progress], None]


def at(batch: int, step: int, act: Callable[[Job], object]) -> Act:
    """Does something to the job when it tells of this step of this pass."""

    def on_progress(job: Job, told: Progress) -> None:
        if (told.batch, told.sampling_step) == (batch, step):
            act(job)

    return on_progress


def test_progress_of_one_pass(desk: Desk) -> None:
    told = desk.run()[1].progress
    assert [one.stage for one in told] == ["loading", *["sampling"] * 3, "decoding", "saving"]
    assert [one.sampling_step for one in told] == [0, 1, 2, 3, 4, 4]
    assert [one.ratio for one in told] == [0, 0.25, 0.5, 0.75, 1, 1]


def test_progress_counts_batches_passes_and_pictures(desk: Desk) -> None:
    told = desk.run(**HIRES, n_iter=2, batch_size=2)[1].progress
    assert {one.batches for one in told} == {4}
    assert {one.images for one in told} == {4}
    sampled = [one for one in told if one.stage in ("sampling", "decoding")]
    assert [(one.batch, one.sampling_step, one.sampling_steps) for one in sampled] == [
        *[(0, step, 4) for step in (1, 2, 3, 4)],
        *[(1, step, 3) for step in (1, 2, 3)],
        *[(2, step, 4) for step in (1, 2, 3, 4)],
        *[(3, step, 3) for step in (1, 2, 3)],
    ]
    assert [one.image for one in sampled] == [0] * 7 + [2] * 7
    ratios = [one.ratio for one in told]
    assert ratios == sorted(ratios)
    assert ratios[-1] == 1
    assert all(one.step <= one.steps for one in told)


def test_progress_of_a_sampler_that_takes_pictures_one_by_one(desk: Desk) -> None:
    def stop(job: Job, told: Progress) -> None:
        if told.batch == 1:
            job.interrupt()

    rendered, seen = desk.run(stop, batch_size=2, sampler_name="DPM adaptive", cfg_scale=1)
    assert len(rendered.result.shots) == 2
    assert {one.batches for one in seen.progress} == {2}
    ratios = [one.ratio for one in seen.progress]
    assert ratios == sorted(ratios)


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews are not sent faster than they can be looked at; by this clock every step takes a minute."""
    minutes = count()
    monkeypatch.setattr(previews, "time", SimpleNamespace(monotonic=lambda: next(minutes) * 60.0))


@pytest.mark.usefixtures("slow_clock")
def test_previews_grow_into_the_picture(desk: Desk) -> None:
    options = {
        "show_progress_every_n_steps": 1,
        "show_progress_type": "Full",
        "live_preview_content": "Combined",
    }
    rendered, seen = desk.run(**HIRES, override_settings=options)
    assert [preview.rgb.shape for preview in seen.previews] == [(64, 64, 3)] * 4 + [(96, 96, 3)] * 3
    [picture] = pixels(rendered)
    distances = [difference(preview.rgb, picture) for preview in seen.previews[4:]]
    assert distances[-1] < distances[0]
    assert distances[-1] < 1


@pytest.mark.usefixtures("slow_clock")
def test_previews_show_the_prompt_the_negative_one_or_both(desk: Desk) -> None:
    options = {"show_progress_every_n_steps": 1, "show_progress_type": "Full"}

    def shown(content: str | None, **fields: object) -> Pixels:
        chosen = {} if content is None else {"live_preview_content": content}
        seen = desk.run(**{"batch_size": 2, **fields}, override_settings={**options, **chosen})[1]
        return seen.previews[0].rgb

    prompt = shown("Prompt")
    np.testing.assert_array_equal(shown(None), prompt)
    # At scale 1 the negative prompt is not asked; after a single step the noise has not been guided yet.
    alone = {"cfg_scale": 1, "batch_size": 1, "steps": 1}
    np.testing.assert_array_equal(shown("Combined", **alone), shown("Prompt", **alone))
    np.testing.assert_array_equal(shown("Negative prompt", **alone), shown("Prompt", **alone))
    first = {"batch_size": 1, "steps": 1}
    assert largest_difference(shown("Prompt", **first), shown("Combined", **alone)) <= 1
    swapped = {"prompt": "", "negative_prompt": SMALL["prompt"]}
    assert largest_difference(shown("Negative prompt", **first, **swapped), shown("Prompt", **first)) <= 1
    assert difference(shown("Combined"), prompt) > 1, "far from the end"


@pytest.mark.usefixtures("slow_clock")
def test_previews_as_options_ask_for_them(desk: Desk) -> None:
    def shown(**options: object) -> int:
        return len(desk.run(override_settings=options)[1].previews)

    assert shown(show_progress_every_n_steps=2) == 2
    assert shown(show_progress_every_n_steps=-1) == 1, "finished batches only"
    assert shown(show_progress_every_n_steps=0) == 0
    assert shown(show_progress_every_n_steps=1, live_previews_enable=False) == 0
    [batch] = desk.run(batch_size=2, override_settings={"show_progress_every_n_steps": 4})[1].previews
    assert batch.rgb.shape[1] == 2 * batch.rgb.shape[0], "both pictures of a batch"


def test_an_interrupt_keeps_what_is_finished_and_shows_the_rest_as_it_is(desk: Desk) -> None:
    rendered, seen = desk.run(at(1, 2, Job.interrupt), n_iter=3)
    whole, half = pixels(rendered)
    assert largest_difference(whole, desk.image()) <= 1
    finished = desk.image(seed=8)
    assert 0.5 < difference(half, finished) < 60
    assert half.std() > 1
    assert max(one.batch for one in seen.progress if one.stage == "sampling") == 1
    assert max(one.sampling_step for one in seen.progress if one.batch == 1) == 2
    assert (seen.progress[-1].stage, seen.progress[-1].ratio) == ("saving", 1)


def test_what_was_interrupted_is_answered_as_any_other(desk: Desk) -> None:
    rendered, _ = desk.run(at(1, 1, Job.interrupt), n_iter=3)
    outcome = desk.handler.publish(desk.task(), rendered)
    answer = Answer.of(outcome)
    assert answer.info["all_seeds"] == [7, 8]
    assert [infotext_of(picture) for picture in answer.body["images"]] == answer.info["infotexts"]


def test_an_interrupt_before_the_first_step_is_one_picture(desk: Desk) -> None:
    rendered, _ = desk.run(at(0, 0, Job.interrupt), n_iter=3)
    assert len(pixels(rendered)) == 1


def test_an_interrupt_in_the_first_pass_shows_that_one(desk: Desk) -> None:
    rendered, seen = desk.run(at(0, 2, Job.interrupt), **HIRES, n_iter=2)
    [half] = pixels(rendered)
    assert half.shape == (64, 64, 3)
    assert max(one.sampling_step for one in seen.progress if one.stage == "sampling") == 2


def test_what_never_began_is_not_told(desk: Desk) -> None:
    body = {**HIRES, "n_iter": 2, "refiner_checkpoint": OTHER, "refiner_switch_at": 0.5}
    second = ("Denoising strength", "Hires upscale", "Hires upscaler", "Hires steps", "Refiner")

    def told(act: Act | None) -> dict[str, object]:
        rendered, _ = desk.run(act, **body)
        info = Answer.of(desk.handler.publish(desk.task(), rendered)).info
        return {**parse(info["infotexts"][0]), "info": info}

    whole, first, later = (told(act) for act in (None, at(0, 2, Job.interrupt), at(1, 1, Job.interrupt)))
    assert not first.keys() & set(second)
    assert first["info"]["denoising_strength"] is None
    assert first["info"]["extra_generation_params"] == {}
    for cut_later in (whole, later):
        assert cut_later.keys() >= set(second)
        assert cut_later["info"]["denoising_strength"] == 0.6


def test_a_half_done_picture_is_stored_below_a_save_dir_only_where_an_option_says_so(desk: Desk) -> None:
    def answered(**options: object) -> dict[str, str]:
        script = {"save_dir": "half", "id_task": "t"}
        rendered, _ = desk.run(
            at(1, 1, Job.interrupt), n_iter=3, alwayson_scripts=script, override_settings=options
        )
        answer = json.loads(desk.handler.publish(desk.task(), rendered).data)
        parameters: dict[str, str] = answer["parameters"]
        return parameters

    try:
        without, with_half = answered(grid_save=False), answered(save_incomplete_images=True)
    finally:
        shutil.rmtree(desk.settings.data_dir / "half")
    assert (without["seed"], with_half["seed"]) == ("7", "7,8")
    assert len(without["image_url"].split(",")) + 1 == len(with_half["image_url"].split(","))


def test_an_interrupt_in_the_hires_pass_shows_the_large_picture(desk: Desk) -> None:
    rendered, _ = desk.run(at(1, 1, Job.interrupt), **HIRES, n_iter=2)
    [half] = pixels(rendered)
    assert half.shape == (96, 96, 3)
    assert 0 < difference(half, desk.image(**HIRES)) < 60


def test_a_skip_ends_the_batch_and_the_next_is_whole(desk: Desk) -> None:
    rendered, seen = desk.run(at(0, 2, lambda job: job.skip(1)), n_iter=3)
    cut, second, third = pixels(rendered)
    assert difference(cut, desk.image()) > 0.5
    assert largest_difference(second, desk.image(seed=8)) <= 1
    assert largest_difference(third, desk.image(seed=9)) <= 1
    assert [one.sampling_step for one in seen.progress if one.batch == 0 and one.stage == "sampling"] == [
        1,
        2,
    ]
    assert not any(one.skipped for one in seen.progress if one.batch > 0 and one.stage != "saving")


def test_a_skip_in_the_first_pass_leaves_the_second_out(desk: Desk) -> None:
    rendered, _ = desk.run(at(0, 2, lambda job: job.skip(1)), **HIRES, n_iter=2)
    assert [picture.shape[0] for picture in pixels(rendered)] == [64, 96]


def test_a_skip_that_comes_too_late_is_not_for_the_next_batch(desk: Desk) -> None:
    rendered, _ = desk.run(at(0, 4, lambda job: job.skip(1)), n_iter=2)
    for i, picture in enumerate(pixels(rendered)):
        assert largest_difference(picture, desk.image(seed=7 + i)) <= 1


@pytest.mark.parametrize("reason", [StopReason.CANCELLED, StopReason.SHUTDOWN, StopReason.LEASE_LOST])
@pytest.mark.parametrize("batch", [0, 1])
def test_a_cancel_stops_at_the_next_step(desk: Desk, reason: StopReason, batch: int) -> None:
    told: list[Progress] = []

    def on_progress(job: Job, progress: Progress) -> None:
        told.append(progress)
        at(batch, 2, lambda job: job.stop(reason))(job, progress)

    with pytest.raises(JobStoppedError) as caught:
        desk.run(on_progress, **HIRES)
    assert desk.handler.explain(caught.value).stop is reason
    assert (told[-1].batch, told[-1].sampling_step) == (batch, 2)


def test_a_cancel_beats_an_interrupt(desk: Desk) -> None:
    def both(job: Job) -> None:
        job.interrupt()
        job.stop(StopReason.CANCELLED)

    with pytest.raises(JobStoppedError):
        desk.run(at(0, 1, both))


@pytest.fixture
def failing_unet(desk: Desk) -> Iterator[Callable[[BaseException], None]]:
    """`fail(error)`: the UNet raises it at its third call, as a device without memory does."""
    hooks = []

    def fail(error: BaseException) -> None:
        calls = count(1)

        def raise_it(module: torch.nn.Module, inputs: object) -> None:
            if next(calls) == 3:
                raise error

        checkpoint = desk.handler._models.checkpoint(desk.plan().job.model)
        hooks.append(checkpoint.unet.register_forward_pre_hook(raise_it))

    yield fail
    for hook in hooks:
        hook.remove()


def test_a_worker_without_memory_goes_on_after_it(
    desk: Desk, failing_unet: Callable[[BaseException], None]
) -> None:
    before = desk.image()
    failing_unet(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError) as caught:
        desk.run(tiling=True)
    failure = desk.handler.explain(caught.value)
    assert (failure.code, failure.out_of_memory, failure.retry) == (500, True, True)
    assert "lower width, height or batch_size" in failure.message
    desk.handler.free_memory()
    np.testing.assert_array_equal(desk.image(), before)  # tiling is undone too


def test_a_model_that_overflows_fails_its_task_alone(desk: Desk) -> None:
    before = desk.image()
    folder = add_variant(desk.settings.data_dir, "broken")
    try:
        with pytest.raises(NanError) as caught:
            desk.run(on_progress=spoil(desk), override_settings={"sd_model_checkpoint": "broken"})
    finally:
        shutil.rmtree(folder)
    failure = desk.handler.explain(caught.value)
    assert (failure.code, failure.retry) == (500, False)
    assert "broken" in failure.message
    np.testing.assert_array_equal(desk.image(), before)


def spoil(desk: Desk) -> Act:
    """Makes the loaded model's numbers infinite at the first step."""

    def on_progress(job: Job, told: Progress) -> None:
        if told.sampling_step == 1:
            model = desk.plan(override_settings={"sd_model_checkpoint": "broken"}).job.model
            next(desk.handler._models.checkpoint(model).unet.parameters()).fill_(float("inf"))

    return on_progress


def test_two_tasks_with_other_models_leave_nothing_behind(desk: Desk) -> None:
    before = desk.image()
    assert difference(desk.image(override_settings={"sd_model_checkpoint": OTHER}, tiling=True), before) > 0.1
    np.testing.assert_array_equal(desk.image(), before)
