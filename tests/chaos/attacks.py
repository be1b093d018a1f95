"""What is done to the service: a list that follows from the seed, and how each item of it is carried out."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice

from .arena import LEASE_S, Arena
from .parts import Part
from .proxy import Mode

KILLED = ("worker", "watcher", "gateway", "worker", "redis", "watcher", "worker")
"""Roles in turn: workers hold leases, watchers hold windows, and Redis takes everybody down for a moment."""
STOPPED = ("worker", "gateway", "watcher", "redis")
CUT = (
    (Mode.BLACK_HOLE, "worker"),
    (Mode.RESET, "gateway"),
    (Mode.MUTE, "front"),
    (Mode.HALF_CLOSE, "worker"),
    (Mode.DELAY, "gateway"),
    (Mode.MUTE, "worker"),
    (Mode.BLACK_HOLE, "gateway"),
    (Mode.RESET, "front"),
    (Mode.HALF_CLOSE, "gateway"),
    (Mode.DELAY, "worker"),
    (Mode.MUTE, "gateway"),
    (Mode.RESET, "worker"),
    (Mode.HALF_CLOSE, "front"),
    (Mode.BLACK_HOLE, "front"),
)
MEANWHILE = 0.25
"""Share of stops and cuts during which another part is killed."""

REFUSED = r"task {}: (the lease is lost|its result is dropped|not started)"
"""How a worker says that the queue has taken a task from it."""


@dataclass(frozen=True)
class Attack:
    """One attack. `mode` and `hold_s`, its length, belong to cuts; `meanwhile` is a part killed during it."""

    kind: str
    part: str
    mode: Mode = Mode.PASS
    hold_s: float = 0.0
    meanwhile: str = ""


def plan(arena: Arena, seed: int, *, kills: int, stops: int, cuts: int) -> list[Attack]:
    """Every kind in turn, victims by chance, shuffled. Kills during a stop or a cut come on top."""
    choose = random.Random(f"attacks {seed}")

    def victim(role: str) -> str:
        return choose.choice(arena.names(role))

    def meanwhile(but: str) -> str:
        others = [name for name in arena.parts if name != but and not name.startswith("redis")]
        return choose.choice(others) if choose.random() < MEANWHILE else ""

    attacks = [Attack("kill", victim(role)) for role in islice(cycle(KILLED), kills)]
    for role in islice(cycle(STOPPED), stops):
        part = victim(role)
        attacks.append(Attack("stop", part, meanwhile=meanwhile(part)))
    for mode, role in islice(cycle(CUT), cuts):
        part = victim(role)
        attacks.append(Attack("cut", part, mode, round(choose.uniform(0.2, 1.2), 2), meanwhile(part)))
    choose.shuffle(attacks)
    return attacks


class Attacker:
    """Carries attacks out, one after the other.

    Attributes:
        counts: ("kill", "worker"), ("stop", "redis"), ("cut", "mute worker") … -> how often.
        refused: Tasks whose stopped or cut-off worker was told that they are not its own any more.
    """

    def __init__(self, arena: Arena) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.refused = 0
        self._arena = arena
        self._observer = arena.observer

    def carry_out(self, attack: Attack) -> None:
        """Do it, undo it, and wait for the sign that it was felt. Raises StuckError."""
        what = f"{attack.mode.value} {_role(attack.part)}" if attack.kind == "cut" else _role(attack.part)
        self.counts[attack.kind, what] += 1
        with (self._arena.folder / "attacks.log").open("a") as log:
            log.write(f"{time.monotonic():.2f} {attack}\n")
        getattr(self, f"_{attack.kind}")(attack)

    def _kill(self, attack: Attack) -> None:
        self._kill_part(attack.part)

    def _kill_part(self, name: str) -> None:
        if name == "redis":
            self._arena.parts[name].kill()
            self._arena.start_redis()
            return
        part = self._up(name)
        part.kill()
        part.start()  # its readiness is waited for before it is attacked again

    def _kill_meanwhile(self, name: str) -> None:
        if name:
            self.counts["kill", _role(name)] += 1
            self._kill_part(name)

    def _stop(self, attack: Attack) -> None:
        part = self._up(attack.part)
        if part.role == "worker":
            self._past_the_lease(part, part.freeze, part.thaw, attack.meanwhile)
            return
        part.freeze()
        try:
            self._kill_meanwhile(attack.meanwhile)
            self._wait_until_missed(part)
        finally:
            since = part.mark()
            part.thaw()
        if part.role == "gateway":
            self._observer.wait(f"{part.name} answers", lambda: self._arena.gateway_answers(part.name))
        elif part.role == "watcher":
            part.wait_line("^watching ", since=since)
        else:
            self._observer.wait("Redis answers", self._observer.answers)

    def _wait_until_missed(self, part: Part) -> None:
        """Return once the others have noticed that a frozen part is silent, and what it held is free."""
        if part.role == "watcher":
            self._observer.wait(
                f"{part.name} is taken for gone", lambda: not self._observer.connected(part.name)
            )
        elif part.role == "gateway":
            # The queue refuses a uid while the frozen gateway's hold on it lasts; so a watcher that has come
            # in elsewhere proves that it is over.
            watchers = self._arena.names("watcher")
            self._observer.wait(
                f"all watchers leave {part.name}",
                lambda: all(self._arena.watched_gateway(name) != part.name for name in watchers),
            )
        else:
            time.sleep(LEASE_S * 1.2)  # a frozen Redis is missed by nobody in particular: its leases run out

    def _cut(self, attack: Attack) -> None:
        proxy = self._arena.proxies[attack.part]

        def cut() -> None:
            proxy.set(attack.mode)

        def heal() -> None:
            proxy.set(Mode.PASS)

        if attack.mode is Mode.BLACK_HOLE and _role(attack.part) == "worker":
            self._past_the_lease(self._up(attack.part), cut, heal, attack.meanwhile)
            return
        cut()
        try:
            self._kill_meanwhile(attack.meanwhile)
            time.sleep(attack.hold_s)  # the attack itself
        finally:
            heal()

    def _past_the_lease(
        self, worker: Part, silence: Callable[[], None], restore: Callable[[], None], meanwhile: str
    ) -> None:
        """Silence a worker that runs a task until the queue has given it away; then its result is refused."""
        while not (taken := self._given_away(worker, silence, restore, meanwhile)):
            meanwhile = ""  # its task ended in the moment of silence, so there was nothing to take
        self.refused += len(taken)

    def _given_away(
        self, worker: Part, silence: Callable[[], None], restore: Callable[[], None], meanwhile: str
    ) -> set[str]:
        """Request ids of the tasks that a silent worker has lost, once it knows."""
        held: dict[str, tuple[str, str]] = {}

        def caught() -> bool:
            """Silence it; if it runs nothing just then, let it go on."""
            silence()
            try:
                held.update(self._observer.running_on(worker.pid))
            finally:
                if not held:
                    restore()
            return bool(held)

        self._observer.wait(f"{worker.name} runs a task", caught)
        try:
            self._kill_meanwhile(meanwhile)
            self._observer.wait("its lease is reaped", lambda: self._observer.lost(held))
            taken = self._observer.ended_by_others(held)
        finally:
            since = worker.mark()
            restore()
        for request_id in taken:
            worker.wait_line(REFUSED.format(re.escape(request_id)), since=since)
        return taken

    def _up(self, name: str) -> Part:
        part = self._arena.parts[name]
        if part.role != "redis":
            part.await_ready()
        return part


def _role(name: str) -> str:
    return name.partition("-")[0]
