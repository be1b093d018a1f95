"""Thousands of tasks while gateways, workers, watchers and Redis are killed, frozen and cut off.

The short run is part of every test run, `make test-slow` has the long one. The output names the run's seed:
``CHAOS_SEED=<seed>`` repeats its tasks and its attacks, ``CHAOS_TASKS`` and ``CHAOS_KILLS`` say how many.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from .arena import MAX_DELIVERY, WINDOW, Arena
from .attacks import Attacker, plan
from .checker import Verdict, judge
from .diary import read_diary
from .parts import StuckError
from .senders import AHEAD, Senders, errands

SHOWN = 50
"""Problems that a failed run prints; one lost sender would fill pages."""

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))


def chaos(folder: Path, *, tasks: int, kills: int, stops: int, cuts: int, sleep_s: float) -> str:
    """One run. Returns what it counted; raises AssertionError with every broken promise."""
    print(f"CHAOS_SEED={SEED}; attacks.log and what every part said are in {folder}")
    began = time.monotonic()
    work = errands(tasks, SEED, sleep_s)
    with Arena(folder, SEED) as arena:
        observer, attacker = arena.observer, Attacker(arena)
        senders = Senders(work, arena.urls, lambda: observer.committed)
        attacks = plan(arena, SEED, kills=kills, stops=stops, cuts=cuts)
        stuck: list[str] = []
        left_over: dict[str, int] = {}
        senders.start()
        try:
            for number, attack in enumerate(attacks):
                # An attack comes when the service has shown that it got over those before; the last ones come
                # while there is work left, for some wait until the worker that they mean has a task.
                observer.wait_committed((tasks - AHEAD) * number // len(attacks), arena.check_alive)
                attacker.carry_out(attack)
            observer.wait_committed(tasks, arena.check_alive)
            left_over = observer.left_over()
        except StuckError as error:
            stuck.append(f"stuck: {error}")  # the judge may know why
        finally:
            senders.stop()
    verdict = judge(
        work,
        senders.accepted,
        arena.history(),
        {uid: read_diary(path) for uid, path in arena.diaries().items()},
        window=WINDOW,
        max_delivery=MAX_DELIVERY,
    )
    report = _report(tasks, attacker, senders, verdict, time.monotonic() - began)
    problems = [*stuck, *senders.problems, *verdict.problems, *arena.complaints()]
    assert not problems, "\n".join([report, f"{len(problems)} problems:", *problems[:SHOWN]])
    assert not left_over, f"{report}\nleft over: {left_over}"
    # A run in which nothing went wrong would show nothing.
    felt = (verdict.redelivered_tasks, verdict.redelivered_results, senders.repeats, attacker.refused)
    assert all(felt), report
    return report


def _report(tasks: int, attacker: Attacker, senders: Senders, verdict: Verdict, took_s: float) -> str:
    def of(kind: str) -> str:
        counts = Counter({what: count for (each, what), count in attacker.counts.items() if each == kind})
        parts = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        return f"{counts.total()} ({parts})"

    return (
        f"chaos: CHAOS_SEED={SEED}, {tasks} tasks in {took_s:.0f} s\n"
        f"  kills {of('kill')}\n  stops {of('stop')}\n  cuts {of('cut')}\n"
        f"  lost {verdict.lost}, doubled {verdict.doubled}; dead letters {verdict.dead} "
        f"({verdict.doomed} of tasks that can only fail)\n"
        f"  delivered again: {verdict.redelivered_tasks} tasks, {verdict.redelivered_results} results; "
        f"puts tried again {senders.retries}, answered again {senders.repeats}\n"
        f"  tasks of silent workers that were given away, their results refused: {attacker.refused}"
    )


def test_every_task_ends_once_whatever_happens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = chaos(tmp_path, tasks=300, kills=6, stops=3, cuts=5, sleep_s=0.2)
    with capsys.disabled():
        print(f"\n{report}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_task_ends_once_whatever_happens_at_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = int(os.environ.get("CHAOS_KILLS") or 200)
    tasks = int(os.environ.get("CHAOS_TASKS") or 5000)
    report = chaos(tmp_path, tasks=tasks, kills=kills, stops=kills // 8, cuts=kills // 4, sleep_s=0.3)
    with capsys.disabled():
        print(f"\n{report}")
