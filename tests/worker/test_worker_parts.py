"""The small parts: jobs, hand-over, seeds, failures, settings."""

from __future__ import annotations

import threading

import pytest

from easel_contract.errors import ContractError
from easel_queue import Task
from easel_worker.failure import failure_of
from easel_worker.handoff import Handoff
from easel_worker.job import Job, JobStoppedError, StopReason
from easel_worker.seeds import RANDOM_SEEDS, resolve_seeds
from easel_worker.settings import WorkerSettings, default_worker_id


def job(index: int = 1) -> Job:
    return Job(Task(index, f"r{index}", index, {}, {}, b"", 0, 0, 0, 0))


def test_a_stop_is_noticed_and_the_stronger_reason_wins() -> None:
    one = job()
    one.check()

    assert one.stop(StopReason.SHUTDOWN)
    assert one.stop(StopReason.CANCELLED)
    assert not one.stop(StopReason.SHUTDOWN)
    assert not one.stop(StopReason.CANCELLED)
    assert one.stop(StopReason.LEASE_LOST)
    with pytest.raises(JobStoppedError) as caught:
        one.wait(60)
    assert caught.value.reason is StopReason.LEASE_LOST


def test_the_handoff_has_room_for_its_depth_and_refuses_after_the_intake_closed() -> None:
    handoff = Handoff(2)
    for index in (1, 2):
        assert handoff.wait_room(0)
        assert handoff.put(job(index))
    assert not handoff.wait_room(0)
    taken = handoff.take()
    assert taken is not None
    assert taken.task.index == 1
    assert handoff.wait_room(0)

    assert [left.task.index for left in handoff.close_intake()] == [2]
    assert not handoff.wait_room(0)
    assert not handoff.put(job(3))
    handoff.close()
    assert handoff.take() is None


def test_a_handoff_of_depth_0_has_room_only_while_the_torch_thread_waits() -> None:
    handoff = Handoff(0)
    assert not handoff.wait_room(0)
    taken: list[Job | None] = []
    thread = threading.Thread(target=lambda: taken.append(handoff.take()))
    thread.start()

    assert handoff.wait_room(60)
    handoff.put(job())
    thread.join(60)

    assert taken[0] is not None
    assert not handoff.wait_room(0)


def test_seeds_count_up_and_random_ones_stay_in_a1111s_range() -> None:
    assert resolve_seeds(5, 3) == (5, 6, 7)
    assert resolve_seeds(0, 1) == (0,)
    firsts = {resolve_seeds(-1, 2) for _ in range(20)}
    assert len(firsts) > 1
    assert all(0 <= first < RANDOM_SEEDS and second == first + 1 for first, second in firsts)


def test_failures_tell_whose_fault_it_was() -> None:
    assert failure_of(ContractError("is wrong", field="width")).retry is False
    assert failure_of(ContractError("is wrong", field="width")).code == 422
    assert failure_of(JobStoppedError(StopReason.CANCELLED)).code == 499
    assert failure_of(MemoryError()).out_of_memory
    assert failure_of(KeyError("x")).retry
    assert failure_of(RuntimeError("")).message == "RuntimeError: no further information"
    long = failure_of(RuntimeError("\ud800" + "x" * 10_000)).message
    assert len(long.encode()) < 2100


def test_settings_refuse_what_cannot_work_and_worker_ids_are_unique() -> None:
    assert default_worker_id() != default_worker_id()
    assert WorkerSettings(handlers="a:B, c.d:E").handlers == ("a:B", "c.d:E")  # type: ignore[arg-type] # as from the environment
    for wrong in ({"handlers": ""}, {"handlers": "a.b"}, {"worker_id": "no spaces"}, {"prefetch": 17}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            WorkerSettings(**wrong)  # type: ignore[arg-type] # wrong on purpose
