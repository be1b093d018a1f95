"""Clients that put tasks until each is accepted, again and again under one idempotency key."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import httpx

HTTP_S = 3.0
PAUSE_S = 0.05
AHEAD = 80
"""Tasks that may be accepted and not committed: all parts are busy, and no attack comes too late."""
SENDERS = 4

DOOMED = 100
"""`fails` of a task whose every delivery fails."""


@dataclass(frozen=True)
class Errand:
    """One task to send. Everything about it follows from the seed and its number."""

    number: int
    sleep_s: float
    fails: int
    refused: bool
    copies: int
    """How many clients send it at the same time, all under its key."""
    again: bool
    """Whether it is sent once more after it was accepted."""
    seed: int

    @property
    def doomed(self) -> bool:
        """No delivery of it can succeed."""
        return self.fails == DOOMED

    def body(self) -> dict[str, object]:
        return {
            "number": self.number,
            "sleep_s": self.sleep_s,
            "fails": self.fails,
            "refused": self.refused,
        }


def errands(count: int, seed: int, sleep_s: float) -> list[Errand]:
    """`count` tasks that sleep up to `sleep_s` seconds; one in eight fails on purpose in some way."""
    choose = random.Random(f"errands {seed}")
    return [
        Errand(
            number,
            sleep_s=round(choose.uniform(0, sleep_s), 3),
            fails=choose.choices([0, 1, 2, DOOMED], [88, 5, 3, 2])[0],
            refused=choose.random() < 0.02,
            copies=2 if choose.random() < 0.05 else 1,
            again=choose.random() < 0.05,
            seed=choose.randrange(2**32),
        )
        for number in range(count)
    ]


class Senders:
    """Sends every errand. `accepted` maps its number to the index and request id of the answer.

    Attributes:
        retries: Tries that brought no answer, or a 503.
        repeats: Answers to errands that had been accepted before.
        problems: What no client should ever see, in words.
    """

    def __init__(self, work: list[Errand], urls: list[str], committed: Callable[[], int]) -> None:
        self.accepted: dict[int, tuple[int, str]] = {}
        self.retries = 0
        self.repeats = 0
        self.problems: list[str] = []
        self._work = work
        self._urls = urls
        self._committed = committed
        self._next = count()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(SENDERS)]

    def start(self) -> None:
        """Begin; returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Give up what is not sent."""
        self._ending.set()
        for thread in self._threads:
            thread.join(HTTP_S * 2)

    @property
    def done(self) -> bool:
        """Whether everything was accepted."""
        return not any(thread.is_alive() for thread in self._threads)

    def _send_all(self) -> None:
        with httpx.Client(timeout=HTTP_S, trust_env=False) as http:
            for number in self._next:
                if number >= len(self._work):
                    return
                while number - self._committed() >= AHEAD:
                    if self._ending.wait(PAUSE_S):
                        return
                errand = self._work[number]
                with ThreadPoolExecutor(errand.copies) as clients:
                    sent = [clients.submit(self._send, http, errand, copy) for copy in range(errand.copies)]
                for each in sent:
                    each.result()
                if errand.again:
                    self._send(http, errand, errand.copies)

    def _send(self, http: httpx.Client, errand: Errand, copy: int) -> None:
        choose = random.Random(errand.seed + copy)
        headers = {"Idempotency-Key": f"chaos-{errand.number}"}
        while not self._ending.is_set():
            url = f"{choose.choice(self._urls)}/chaos"
            try:
                answer = http.post(url, json=errand.body(), headers=headers)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                self._note(errand, (int(answer.text), answer.headers["X-Eas-Queueservice-Request-Id"]))
                return
            with self._lock:
                self.retries += 1
                if answer is not None and answer.status_code != 503:
                    self.problems.append(f"task {errand.number}: {answer.status_code} {answer.text}")
                    return
            time.sleep(PAUSE_S)

    def _note(self, errand: Errand, answer: tuple[int, str]) -> None:
        with self._lock:
            first = self.accepted.setdefault(errand.number, answer)
            self.repeats += first is not answer
            if first != answer:
                self.problems.append(f"task {errand.number} was accepted twice: {first} and {answer}")
