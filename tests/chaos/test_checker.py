"""The judge accepts a sound story, and finds every way in which it can be broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from .checker import Verdict, judge
from .diary import Event
from .history import History, read_commands
from .senders import DOOMED, Errand

WINDOW = 2


def errand(number: int, *, fails: int = 0, refused: bool = False) -> Errand:
    return Errand(number, 0.0, fails, refused, copies=1, again=False, seed=0)


@dataclass
class Story:
    """Three tasks: one succeeds, one can only fail, one is refused; one watcher commits their results."""

    errands: list[Errand] = field(
        default_factory=lambda: [errand(0), errand(1, fails=DOOMED), errand(2, refused=True)]
    )
    accepted: dict[int, tuple[int, str]] = field(
        default_factory=lambda: {0: (1, "a"), 1: (2, "b"), 2: (3, "c")}
    )
    history: History = field(default_factory=History)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.note("open", 0)
        codes = {"a": 200, "b": 500, "c": 422}
        for index, request_id in enumerate(codes, start=1):
            self.history.tasks[index] = [request_id]
            self.history.starts[index] = 1
            self.history.results[index] = [request_id]
            self.history.deliveries.append((index, "w"))
            self.history.removed[index] = 1
            self.note("got", index, request_id, codes[request_id])
            self.note("commit", index)
            self.note("acked", index)
        self.history.starts[2] = 3
        self.history.letters[2] = 1
        self.history.most_pending["w"] = WINDOW

    def note(
        self, what: str, index: int, request_id: str = "", code: int = 0, *, connection: str = "c1"
    ) -> None:
        self.events.append(Event(len(self.events), what, connection, index, request_id, code))

    def judged(self) -> Verdict:
        return judge(
            self.errands, self.accepted, self.history, {"w": self.events}, window=WINDOW, max_delivery=3
        )


def test_a_sound_story_is_accepted() -> None:
    verdict = Story().judged()
    assert verdict.problems == []
    assert (verdict.lost, verdict.doubled, verdict.dead, verdict.redelivered_tasks) == (0, 0, 1, 2)


def _never_accepted(story: Story) -> None:
    del story.accepted[0], story.history.tasks[1], story.history.results[1]


def _accepted_and_not_stored(story: Story) -> None:
    del story.history.tasks[1]


def _stored_twice(story: Story) -> None:
    story.history.tasks[9] = ["z"]


def _index_given_out_twice(story: Story) -> None:
    story.history.tasks[1].append("z")


def _no_result(story: Story) -> None:
    del story.history.results[1]


def _result_not_committed(story: Story) -> None:
    del story.history.removed[1]


def _two_results(story: Story) -> None:
    story.history.results[7] = ["a"]


def _a_result_of_nobody(story: Story) -> None:
    story.history.results[7] = ["z"]


def _dead_without_a_letter(story: Story) -> None:
    del story.history.letters[2]


def _a_letter_and_a_success(story: Story) -> None:
    story.history.letters[1] = 1


def _two_letters(story: Story) -> None:
    story.history.letters[2] = 2


def _success_of_what_can_only_fail(story: Story) -> None:
    story.errands[0] = errand(0, fails=DOOMED)


def _success_of_what_must_be_refused(story: Story) -> None:
    story.errands[0] = errand(0, refused=True)


def _started_too_often(story: Story) -> None:
    story.history.starts[1] = 4


def _beyond_the_window(story: Story) -> None:
    story.history.most_pending["w"] = WINDOW + 1


def _first_delivered_out_of_order(story: Story) -> None:
    story.history.deliveries[:2] = reversed(story.history.deliveries[:2])


def _twice_on_one_connection(story: Story) -> None:
    story.note("got", 1, "a", 200)


def _sent_beyond_the_window(story: Story) -> None:
    story.events = [event for event in story.events if event.what != "commit"]
    for index in (1, 2, 3):
        story.note("commit", index)


def _somebody_elses_result(story: Story) -> None:
    story.history.results[1], story.history.results[2] = ["b"], ["a"]


def _received_out_of_order(story: Story) -> None:
    story.events[1], story.events[4] = story.events[4], story.events[1]


def _again_after_the_commit(story: Story) -> None:
    story.note("open", 0, connection="c2")
    story.note("got", 1, "a", 200, connection="c2")


def _acked_and_not_removed(story: Story) -> None:
    story.history.removed[1] = 0


def _removed_twice(story: Story) -> None:
    story.history.removed[1] = 2


def _removed_without_a_commit(story: Story) -> None:
    story.events = [event for event in story.events if event.what == "got" or event.index != 1]


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_never_accepted, "never accepted"),
        (_accepted_and_not_stored, "is not stored"),
        (_stored_twice, "task 9 is stored 1 times; accepted: False"),
        (_index_given_out_twice, "task 1 is stored 2 times"),
        (_no_result, "has no committed result"),
        (_result_not_committed, "has no committed result"),
        (_two_results, "has 2 results"),
        (_a_result_of_nobody, "nobody was promised"),
        (_dead_without_a_letter, "code 500 and 0 dead letters"),
        (_a_letter_and_a_success, "code 200 and 1 dead letters"),
        (_two_letters, "2 dead letters"),
        (_success_of_what_can_only_fail, "no dead letter"),
        (_success_of_what_must_be_refused, "has a result with code 200"),
        (_started_too_often, "was started 4 times"),
        (_beyond_the_window, "its window is 2"),
        (_first_delivered_out_of_order, "for the first time after"),
        (_twice_on_one_connection, "twice on c1"),
        (_sent_beyond_the_window, "[1, 2, 3] at once"),
        (_somebody_elses_result, "as the result of"),
        (_received_out_of_order, "out of order on c1"),
        (_again_after_the_commit, "younger than its commit"),
        (_acked_and_not_removed, "removed 0 times"),
        (_removed_twice, "removed 2 times"),
        (_removed_without_a_commit, "nobody has committed it"),
    ],
)
def test_a_broken_promise_is_found(breaks: Callable[[Story], None], said: str) -> None:
    story = Story()
    breaks(story)
    assert any(said in problem for problem in story.judged().problems), story.judged().problems


def test_an_append_only_file_is_read_command_by_command() -> None:
    raw = b"#TS:1\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n\r\n\r\n"
    assert list(read_commands(raw)) == [[b"MULTI"], [b"SET", b"a", b"\r\n\r\n"]]
