"""`kill -9` of real processes: exactly one result, nothing accepted lost, nothing left behind."""

from __future__ import annotations

from pathlib import Path

from ..looking import look
from .running import Running, body_of, running

SMALL = {"prompt": "x", "steps": 2, "width": 64, "height": 64}
LONG = {"prompt": "a red circle on a blue background", "steps": 150, "width": 128, "height": 128, "seed": 1}
ECHO = {"EASEL_HANDLERS": "easel_worker.handlers.echo:EchoHandler"}
"""For tests that ask about the queue alone: a worker without torch is up in a tenth of the time."""


def echo(easel: Running, task_id: str) -> str:
    """Queue a task that takes a worker a fifth of a second; answers its request id."""
    response = easel.http.post(
        f"/api/predict/{easel.service}/easel/v1/echo",
        params={"task_id": task_id},
        json={"sleep_s": 0.2, "steps": 2},
    )
    assert response.status_code == 200, response.text
    return response.headers["X-Eas-Queueservice-Request-Id"]


def test_a_killed_workers_task_is_delivered_again(tmp_path: Path) -> None:
    with running(tmp_path, EASEL_MAX_DELIVERY="2", EASEL_LEASE_S="2") as easel:
        request_id = easel.submit("long", **LONG)
        behind = easel.submit("behind", **SMALL)
        easel.wait_until_rendering(request_id)
        easel.kill("worker-1")
        assert "SIGKILL" in easel.wait_for_line(r"worker-1"), "the supervisor says why it restarts it"
        items = {item["tags"]["task_id"]: item for item in easel.sink(2)}
        assert set(items) == {"long", "behind"}
        assert all("lastCode" not in item["tags"] for item in items.values())
        assert look(body_of(items["long"])["images"][0]).words == "red circle on blue"
        assert easel.http.get(f"/easel/v1/tasks/{behind}").json()["status"] == "done"
        assert easel.attributes("sink")["stream.length"] == "0", "one result each, no second"
        assert easel.attributes("in")["stream.length"] == "0"
        assert easel.attributes("rear")["stream.length"] == "0"


def test_at_max_delivery_a_killed_workers_task_is_a_dead_letter(tmp_path: Path) -> None:
    with running(tmp_path, EASEL_MAX_DELIVERY="1", EASEL_LEASE_S="2") as easel:
        request_id = easel.submit("long", **LONG, alwayson_scripts={"id_task": "77"})
        easel.wait_until_rendering(request_id)
        easel.kill("worker-1")
        (item,) = easel.sink(1)
        assert item["tags"] == {"task_id": "long", "requestId": request_id, "lastCode": "500"}
        answer = body_of(item)
        assert answer["parameters"]["status"] == 500
        assert "worker" in answer["parameters"]["error_msg"]
        assert easel.attributes("rear")["stream.length"] == "1"
        dead = easel.http.get(
            f"/api/predict/{easel.service}",
            params={"_auto_delete_": "false", "_raw_": "false"},
            headers={"X-EAS-QueueService-Access-Rear": "true"},
        ).json()
        assert [entry["tags"]["requestId"] for entry in dead] == [request_id]
        assert body_of(dead[0])["steps"] == 150, "the dead letter is the request itself"
        assert easel.attributes("sink")["stream.length"] == "0"
        easel.submit("after", **SMALL)
        (after,) = easel.sink(1)
        assert "lastCode" not in after["tags"], "the restarted worker goes on"


def test_nothing_accepted_is_lost_when_redis_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, **ECHO) as easel:
        wanted = {echo(easel, f"t{n}") for n in range(12)}
        easel.kill("redis")
        easel.wait_for_line(r"redis.*SIGKILL|SIGKILL.*redis")
        wanted |= {echo(easel, "later")}
        items = easel.sink(13)
        assert sorted(item["tags"]["requestId"] for item in items) == sorted(wanted)
        assert easel.attributes("sink")["stream.length"] == "0"


def test_a_restart_finds_the_queue_as_it_was(tmp_path: Path) -> None:
    with running(tmp_path, workers=0) as easel:
        first = [echo(easel, f"t{n}") for n in range(3)]
        assert easel.attributes("in")["stream.length"] == "3"
    with running(tmp_path, **ECHO) as easel:
        items = easel.sink(3)
        assert [item["tags"]["requestId"] for item in items] == first
        assert echo(easel, "t3") not in first
        easel.sink(1)


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as easel:
        pids = [easel.process.pid, *map(int, easel.record["pids"].values())]
        assert len(pids) == 5, "supervisor, Redis, gateway, two workers"
        assert easel.stop() == 0
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists(), f"process {pid} was left behind"
    assert not (tmp_path / "run" / "up.json").exists()
