"""The real scripts beside the model, driven by random transitions in any order, with time injected.

Hypothesis looks for a sequence of calls after which Redis and the model differ, and shrinks it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from easel_queue import State

from .watch_rules import WatchRules


class QueueAgainstModel(WatchRules):
    """All rules, and what must be true after each of them."""

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "model"):
            return
        self.model.note_who_waits()
        model, queue = self.model, self.queue
        source = queue.run(queue.source.attributes())
        waiting = model.waiting()
        assert (source.length, source.waiting) == (len(model.jobs), len(waiting))
        assert source.leased == sum(job.holder > 0 for job in model.jobs.values())
        for position, job in enumerate(waiting):
            status = queue.run(queue.tasks.status(job.rid))
            assert status is not None
            assert (status.state, status.ahead, status.deliveries) == (
                State.WAITING,
                position,
                job.deliveries,
            )
        assert self.sink_rids() == model.results
        dead = [entry.request_id for entry in queue.run(queue.rear.get(limit=1000)).entries]
        assert sorted(dead) == sorted(model.dead)
        (group,) = queue.run(queue.sink.attributes()).groups
        assert (group.todo, group.pending, group.aside) == (
            len(model.undelivered),
            len(model.pending),
            len(model.aside),
        )
        offered = sum(job.index in model.offered for job in model.jobs.values())
        (group,) = source.groups
        assert (group.todo, group.pending) == (len(model.jobs) - offered, offered)


def drive(url: str, examples: int, steps: int, *, shrink: bool = True) -> None:
    machine = type("Machine", (QueueAgainstModel,), {"url": url})
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=not shrink,  # whether a known mistake is found must not be a matter of luck
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=how)
