"""The scheduler's API and progress over real processes: what is queued outlives a restart of everything."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from .running import Running, picture, running

ROOT = "/agent-scheduler/v1"
SMALL = {"prompt": "a red circle", "steps": 4, "width": 64, "height": 64, "seed": 3}
LONG = {**SMALL, "steps": 150, "n_iter": 16, "batch_size": 2, "width": 128, "height": 128}
"""Minutes of work, far more than a test waits for."""


def call(easel: Running, method: str, path: str, **how: Any) -> Any:
    response = easel.http.request(method, ROOT + path, **how)
    assert response.status_code == 200, response.text
    return response.json()


def submit(easel: Running, **body: Any) -> str:
    return str(call(easel, "POST", "/queue/txt2img", json=body)["task_id"])


def ended(easel: Running, task_id: str) -> str:
    """The scheduler's status of a task once it ended."""
    for _ in easel.events(task_id):
        pass
    return str(call(easel, "GET", f"/task/{task_id}")["data"]["status"])


def test_pictures_are_drawn_stored_and_still_there_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as easel:
        done = submit(easel, **SMALL, n_iter=2)
        assert ended(easel, done) == "done"
        before = call(easel, "GET", f"/task/{done}/results")["data"]
        assert len(before) == 3, "the grid, and two pictures"
        call(easel, "POST", "/queue/pause")
        waiting = submit(easel, **SMALL)

    with running(tmp_path) as easel:
        page = call(easel, "GET", "/queue")
        assert [task["id"] for task in page["pending_tasks"]] == [waiting]
        assert page["paused"] is True
        assert call(easel, "GET", f"/task/{waiting}/position")["data"]["position"] == 1
        assert [task["id"] for task in call(easel, "GET", "/history")["tasks"]] == [done]
        assert call(easel, "GET", f"/task/{done}/results")["data"] == before
        response = easel.http.get(f"{ROOT}/task/{done}/results", params={"zip": "true"})
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            assert len(archive.namelist()) == 3
        call(easel, "POST", "/queue/resume")
        assert ended(easel, waiting) == "done"
        (image,) = call(easel, "GET", f"/task/{waiting}/results")["data"]
        assert image["infotext"].startswith("a red circle\nSteps: 4, ")
        assert picture(image["image"].partition(",")[2]).size == (64, 64)


def test_a_running_task_is_followed_and_deleted_and_the_next_one_runs(easel: Running) -> None:
    assert easel.http.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
    long, short = submit(easel, **LONG), submit(easel, **SMALL)
    easel.wait_until_rendering(long)

    shown = easel.http.get("/sdapi/v1/progress").json()
    assert 0.01 < shown["progress"] < 1
    assert (shown["state"]["job_count"], shown["state"]["sampling_steps"]) == (16, 150)
    assert shown["state"]["job"] == "Batch 1 out of 16"
    assert shown["eta_relative"] > 0
    one = easel.http.post("/internal/progress", json={"id_task": long}).json()
    assert (one["active"], one["queued"], one["completed"]) == (True, False, False)
    other = easel.http.post("/internal/progress", json={"id_task": short}).json()
    assert (other["queued"], other["textinfo"]) == (True, "In queue: 1/1")
    assert call(easel, "GET", "/queue")["current_task_id"] == long

    assert call(easel, "DELETE", f"/task/{long}")["message"] == "Task interrupted"
    assert ended(easel, short) == "done"
    assert ended(easel, long) == "interrupted"
    assert easel.http.post("/internal/progress", json={"id_task": long}).json()["completed"]
    assert easel.http.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
