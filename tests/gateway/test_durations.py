"""Go's duration text."""

from __future__ import annotations

import pytest

from easel_gateway.eas.durations import format_duration, parse_duration
from easel_gateway.eas.reading import answer_within


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("0s", 0),
        ("0", 0),
        ("5", 5),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("1h0m0s", 3600),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("10ns", 1e-8),
    ],
)
def test_what_clients_write_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "1s ", "1 s", "1s5", "inf", "nan", "1e3", "٣s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (300, "300ms"),
        (1000, "1s"),
        (2091, "2.091s"),
        (10_500, "10.5s"),
        (60_000, "1m0s"),
        (90_000, "1m30s"),
        (3_600_000, "1h0m0s"),
        (3_605_100, "1h0m5.1s"),
    ],
)
def test_durations_are_printed_as_go_does(milliseconds: int, text: str) -> None:
    assert format_duration(milliseconds) == text
    assert parse_duration(text) == pytest.approx(max(milliseconds, 0) / 1000)


@pytest.mark.parametrize(("asked", "waited"), [(5, 4.7), (60, 56.4), (1, 0.7), (0.2, 0), (0, 0)])
def test_long_polls_are_answered_before_the_client_gives_up(asked: float, waited: float) -> None:
    assert answer_within(asked) == pytest.approx(waited)
