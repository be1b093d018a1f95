"""The judge: what was promised, held against what the clients saw and what Redis wrote down.

Promises: every accepted task has exactly one result, committed once, and a dead letter if and only if it was
given up; nothing else was stored; no task is started more than `max_delivery` times; no watcher ever has more
than its window; results are first delivered in the order of their indexes; what was committed never comes
again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .diary import Event
from .history import History
from .senders import Errand

OK, REFUSED, FAILED = 200, 422, 500


@dataclass
class Verdict:
    """Counts for people, and every broken promise in words."""

    lost: int = 0
    doubled: int = 0
    redelivered_tasks: int = 0
    redelivered_results: int = 0
    dead: int = 0
    doomed: int = 0
    """Dead letters of tasks that can only fail; the others ran out of deliveries under attack."""
    problems: list[str] = field(default_factory=list)


def judge(
    errands: Sequence[Errand],
    accepted: Mapping[int, tuple[int, str]],
    history: History,
    diaries: Mapping[str, Sequence[Event]],
    *,
    window: int,
    max_delivery: int,
) -> Verdict:
    """Hold everything against everything. `accepted`: errand number -> the answered index and request id."""
    verdict = Verdict()
    _check_tasks(errands, accepted, history, verdict)
    _check_results(errands, accepted, history, diaries, verdict)
    _check_deliveries(history, window, max_delivery, verdict)
    asked = _first_commits(diaries)
    for uid, events in diaries.items():
        _check_connections(uid, events, asked, history, window, verdict)
    _check_commits(history, diaries, verdict)
    return verdict


def _check_tasks(
    errands: Sequence[Errand],
    accepted: Mapping[int, tuple[int, str]],
    history: History,
    verdict: Verdict,
) -> None:
    """Accepted tasks and stored tasks are the same."""
    stored = {index: ids[0] for index, ids in history.tasks.items()}
    known = dict(accepted.values())
    for number in range(len(errands)):
        if number not in accepted:
            verdict.problems.append(f"task {number} was never accepted")
    for number, (index, request_id) in accepted.items():
        if stored.get(index) != request_id:
            verdict.lost += 1
            verdict.problems.append(f"task {number} was accepted as {index}, which is not stored")
    for index, ids in history.tasks.items():
        if index not in known or len(ids) > 1:
            verdict.doubled += 1
            verdict.problems.append(f"task {index} is stored {len(ids)} times; accepted: {index in known}")


def _check_results(
    errands: Sequence[Errand],
    accepted: Mapping[int, tuple[int, str]],
    history: History,
    diaries: Mapping[str, Sequence[Event]],
    verdict: Verdict,
) -> None:
    """One result each, of the right kind, removed once; a dead letter for those that were given up."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, ids in history.results.items():
        for request_id in ids:
            found[request_id].append(index)
    codes = {
        event.index: event.code for events in diaries.values() for event in events if event.what == "got"
    }
    for number, (index, request_id) in accepted.items():
        results = found.pop(request_id, [])
        name = f"task {number} ({index}, {request_id})"
        if len(results) > 1:
            verdict.doubled += 1
            verdict.problems.append(f"{name} has {len(results)} results: {results}")
        if not results or history.removed[results[0]] == 0:
            verdict.lost += 1
            verdict.problems.append(f"{name} has no committed result")
            continue
        code, dead = codes.get(results[0], 0), history.letters[index]
        verdict.dead += dead
        verdict.doomed += dead and errands[number].doomed
        if (code == FAILED) != (dead == 1) or dead > 1:
            verdict.problems.append(f"{name} has a result with code {code} and {dead} dead letters")
        if not dead and code != (REFUSED if errands[number].refused else OK):
            verdict.problems.append(f"{name} has a result with code {code}")
        if errands[number].doomed and not errands[number].refused and not dead:
            verdict.problems.append(f"{name} can only fail and is no dead letter")
    for request_id, results in found.items():
        verdict.doubled += 1
        verdict.problems.append(f"results {results} are of {request_id}, which nobody was promised")


def _check_deliveries(history: History, window: int, max_delivery: int, verdict: Verdict) -> None:
    """Max delivery, windows, and the order of first deliveries, as Redis knows them."""
    verdict.redelivered_tasks = sum(count - 1 for count in history.starts.values())
    for index, count in history.starts.items():
        if count > max_delivery:
            verdict.problems.append(f"task {index} was started {count} times")
    for uid, most in history.most_pending.items():
        if most > window:
            verdict.problems.append(f"{uid} had {most} uncommitted results; its window is {window}")
    seen: set[int] = set()
    newest = 0
    for index, uid in history.deliveries:
        if index in seen:
            verdict.redelivered_results += 1
            continue
        seen.add(index)
        if index < newest:
            verdict.problems.append(f"{uid} was given {index} for the first time after {newest}")
        newest = max(newest, index)


def _first_commits(diaries: Mapping[str, Sequence[Event]]) -> dict[int, int]:
    """Index -> when a commit of it was sent for the first time, by whomever: that one may already count."""
    commits = [event for events in diaries.values() for event in events if event.what == "commit"]
    return {event.index: event.at for event in sorted(commits, key=lambda event: -event.at)}


def _check_connections(
    uid: str,
    events: Sequence[Event],
    asked: Mapping[int, int],
    history: History,
    window: int,
    verdict: Verdict,
) -> None:
    """One connection at a time: nothing twice, never beyond the window, in order if delivered once only."""
    times = Counter(index for index, _ in history.deliveries)
    got: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.what != "got":
            continue
        mine = got[event.connection]
        if event.index in mine:
            verdict.problems.append(f"{uid} got {event.index} twice on {event.connection}")
        mine.append(event.index)
        # The newest are enough to look at: watchers commit in the order in which they got.
        uncommitted = [index for index in mine[-window - 1 :] if asked.get(index, event.at) >= event.at]
        if len(uncommitted) > window:
            verdict.problems.append(f"{uid} had {uncommitted} at once, and its window is {window}")
        if history.results.get(event.index) != [event.request_id]:
            verdict.problems.append(f"{uid} got {event.index} as the result of {event.request_id}")
    for connection, indexes in got.items():
        once = [index for index in indexes if times[index] == 1]
        if once != sorted(once):
            verdict.problems.append(f"{uid} got {once} out of order on {connection}")


def _check_commits(history: History, diaries: Mapping[str, Sequence[Event]], verdict: Verdict) -> None:
    """What is gone was committed by somebody; what was committed is gone, once, and never comes again."""
    everything = sorted(
        (event for events in diaries.values() for event in events), key=lambda event: event.at
    )
    asked = {event.index for event in everything if event.what == "commit"}
    acked: dict[int, int] = {}
    opened: dict[str, int] = {}
    for event in everything:
        if event.what == "open":
            opened[event.connection] = event.at
        elif event.what == "acked":
            acked.setdefault(event.index, event.at)
        elif event.what == "got" and acked.get(event.index, event.at) < opened[event.connection]:
            verdict.problems.append(f"{event.index} came again on a connection younger than its commit")
    for index in acked:
        if history.removed[index] != 1:
            verdict.problems.append(f"{index} was committed and removed {history.removed[index]} times")
    for index in history.removed:
        if index not in asked:
            verdict.problems.append(f"{index} is gone, and nobody has committed it")
