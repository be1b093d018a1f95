"""Tasks that differ in prompt and seed only, in one batch: what is each one's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from easel_worker.diffusion import previews
from easel_worker.handlers.answer import Rendered
from easel_worker.handlers.base import RunContext
from easel_worker.job import Job, JobStoppedError, StopReason

from ..desk import Answer, Desk, Seen, largest_difference, pixels

RED: dict[str, Any] = {"prompt": "a red circle on a blue background", "seed": 7}
GREEN: dict[str, Any] = {"prompt": "a green square on a white background", "seed": 40}

Step = Callable[[list[Job], int], None]


def run(
    desk: Desk, *bodies: dict[str, Any], at_step: Step | None = None
) -> tuple[list[Rendered | None], list[Seen]]:
    """Render in one batch. `at_step` is told of each step of the first task, and may stop any of the jobs."""
    tasks = [desk.task(**body) for body in bodies]
    jobs, seen = [Job(task) for task in tasks], [Seen() for _ in tasks]

    def context(i: int) -> RunContext:
        def progress(job: Job, told: Any) -> None:
            seen[i].progress.append(told)
            if at_step is not None and i == 0 and told.stage == "sampling":
                at_step(jobs, told.sampling_step)

        return RunContext(jobs[i], progress, lambda job, image: seen[i].previews.append(image))

    plans = [desk.handler.prepare(task) for task in tasks]
    return list(desk.handler.run_together(plans, [context(i) for i in range(len(tasks))])), seen


@pytest.mark.parametrize("more", [{}, {"sampler_name": "DPM++ 2M SDE"}, {"enable_hr": True, "hr_scale": 1.5}])
def test_each_has_the_pictures_that_it_has_alone(desk: Desk, more: dict[str, Any]) -> None:
    first, second = {**RED, **more, "batch_size": 2}, {**GREEN, **more, "batch_size": 2}
    made, seen = run(desk, first, second)

    for rendered, body, told in zip(made, (first, second), seen, strict=True):
        assert rendered is not None
        for one, alone in zip(pixels(rendered), desk.images(**body), strict=True):
            assert largest_difference(one, alone) <= 2
        assert told.progress[-1].images == told.progress[-1].image == 2
    answers = [Answer.of(desk.handler.publish(desk.task(), one)).info for one in made if one is not None]
    assert [answer["all_seeds"] for answer in answers] == [[7, 8], [40, 41]]
    assert [answer["batch_size"] for answer in answers] == [2, 2]
    alone = [desk.txt2img(**body).info["infotexts"] for body in (first, second)]
    assert [answer["infotexts"] for answer in answers] == alone


def test_no_batch_is_larger_than_the_operator_allows(desk: Desk) -> None:
    bodies = [{**RED, "seed": seed, "batch_size": 3} for seed in range(4)]
    made, seen = run(Desk(desk.settings.data_dir, max_batch_size=4), *bodies)
    assert all(one is not None and len(one.result.shots) == 3 for one in made)
    assert seen[0].progress[-1].batches == 3, "twelve pictures, four at a time"


def test_a_cancelled_one_is_left_out_and_the_others_go_on(desk: Desk) -> None:
    def cancel(jobs: list[Job], step: int) -> None:
        jobs[1].stop(StopReason.CANCELLED)

    (first, second), _ = run(desk, RED, GREEN, at_step=cancel)
    assert second is None
    assert first is not None
    assert largest_difference(pixels(first)[0], desk.image(**RED)) <= 2


def test_when_all_are_stopped_nothing_goes_on(desk: Desk) -> None:
    def cancel(jobs: list[Job], step: int) -> None:
        assert step <= 1
        for job in jobs:
            job.stop(StopReason.CANCELLED)

    with pytest.raises(JobStoppedError):
        run(desk, RED, GREEN, at_step=cancel)


@pytest.mark.parametrize("how", ["interrupt", "skip"])
def test_an_interrupted_one_has_what_it_has_and_the_others_begin_anew(desk: Desk, how: str) -> None:
    def end(jobs: list[Job], step: int) -> None:
        if step == 2:
            jobs[1].interrupt() if how == "interrupt" else jobs[1].skip(1)

    (first, second), seen = run(desk, RED, GREEN, at_step=end)
    assert first is None, "its picture is not whole, and it did not ask for that"
    assert second is not None
    assert second.result.interrupted is (how == "interrupt")
    assert [shot.whole for shot in second.result.shots] == [False]
    assert max(told.sampling_step for told in seen[0].progress if told.stage == "sampling") == 2


def test_each_sees_previews_of_its_own_pictures_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = count()  # previews are not sent faster than they can be looked at; by this clock they never are
    monkeypatch.setattr(previews, "time", SimpleNamespace(monotonic=lambda: next(minutes) * 60.0))
    options = {"override_settings": {"show_progress_every_n_steps": 2}}
    _, seen = run(desk, {**RED, **options}, {**GREEN, **options})
    alone = desk.run(**GREEN, **options)[1]

    assert [len(one.previews) for one in seen] == [len(alone.previews)] * 2
    assert seen[0].previews[-1].rgb.shape == seen[1].previews[-1].rgb.shape == (8, 8, 3)
    assert largest_difference(seen[1].previews[-1].rgb, alone.previews[-1].rgb) <= 2
    assert largest_difference(seen[0].previews[-1].rgb, seen[1].previews[-1].rgb) > 20


@pytest.mark.parametrize(
    "other",
    [
        {"steps": 5},
        {"n_iter": 2},
        {"subseed_strength": 0.5},
        {"override_settings": {"no_dpmpp_sde_batch_determinism": True}},
        {"script_name": "prompts from file or textbox", "script_args": [False, False, "start", "a"]},
    ],
)
def test_what_is_not_alike_is_rendered_alone(desk: Desk, other: dict[str, Any]) -> None:
    both = "override_settings" in other
    made, _ = run(desk, {**RED, **(other if both else {})}, {**GREEN, **other})
    assert made == [None, None]


def test_a_prompt_that_names_an_embedding_is_rendered_alone(desk: Desk) -> None:
    """What infotexts and warnings tell of embeddings is told of a whole batch."""
    folder = desk.settings.data_dir / "embeddings"
    folder.mkdir(exist_ok=True)
    (folder / "secret style.safetensors").write_bytes(b"no embedding")
    try:
        assert run(desk, RED, {**GREEN, "prompt": "a Secret  Style square"})[0] == [None, None]
        assert None not in run(desk, RED, GREEN)[0]
    finally:
        (folder / "secret style.safetensors").unlink()
