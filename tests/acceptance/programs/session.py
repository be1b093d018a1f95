"""What every program needs: clients of the service under test, and a way to choose one row by its name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from eas_prediction import QueueClient
from eas_prediction.exception import PredictException

Row = Callable[..., Any]
_rows: dict[str, Row] = {}


def row(function: Row) -> Row:
    """Make a function callable by its name from the command line."""
    _rows[function.__name__] = function
    return function


def client(suffix: str = "", *, uid: str | None = None, gid: str = "eas", **init: str) -> QueueClient:
    """A client of the input, or with ``/sink`` of the sink, made as the SDK's documentation shows."""
    made = QueueClient(os.environ["ENDPOINT"], os.environ["SERVICE"] + suffix)
    made.set_token(os.environ["TOKEN"])
    made.init(uid=uid, gid=gid, **init)
    # The SDK's default logger writes to stdout, which is ours to answer on.
    made.set_logger(None)
    return made


def length(queue: QueueClient) -> int:
    """Items in the queue, as its attributes say."""
    return int(queue.attributes()["stream.length"])


def refusal(call: Callable[[], Any]) -> PredictException:
    """The SDK's exception of a call that must fail."""
    try:
        call()
    except PredictException as error:
        return error
    raise AssertionError("it was not refused")


def tell(value: Any) -> None:
    """One line for the test."""
    print(json.dumps(value), flush=True)


def wait_for_word() -> None:
    """Stay here until the test says so."""
    sys.stdin.readline()


def main() -> None:
    """Run the row that the command line names, and tell what it returns."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    tell(_rows[name](**arguments))
    # The SDK's endpoint thread sleeps in a loop; it is a daemon, so leaving is enough.
