"""Consumers that go without a word: no close, no end of TCP."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..e2e.running import running
from .frames import read_item
from .sdk import Sdk
from .service import TOKEN, Service, until
from .wire import WireSocket

TCP_REPAIR = 19
"""Linux's option for moving connections: a socket closed under it sends nothing."""
PROTOBUF = {"Accept": "application/vnd.google.protobuf"}
WATCH = {"_watch_": "true", "_index_": "0", "_window_": "5"}


def service_with(data_dir: Path, **environment: str) -> Iterator[Service]:
    """A service of the test's own."""
    with running(data_dir, workers=0, token=TOKEN, **environment) as easel:
        yield Service(easel)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Service]:
    """A service that pings often and takes who does not answer for gone."""
    yield from service_with(tmp_path, EASEL_WS_PING_S="0.5", EASEL_WS_PONG_TIMEOUT_S="3")


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Service]:
    """A service that does not ping during the test, so that only TCP can notice."""
    yield from service_with(tmp_path, EASEL_WS_PING_S="3600")


def test_a_stopped_process_loses_its_items_and_takes_part_again_when_it_goes_on(
    sdk_python: Path, impatient: Service
) -> None:
    sdk = Sdk(sdk_python, impatient)
    indexes = [impatient.put("sink")[0] for _ in range(3)]
    with sdk.started("surprises", "watch", uid="stopped", commit=False) as stopped:
        assert [stopped.told() for _ in indexes] == indexes
        stopped.process.send_signal(signal.SIGSTOP)
        until(lambda: impatient.consumer("stopped")["Status"] != "Running", "it is taken for gone")
        with sdk.started("surprises", "watch", uid="heir", commit=True) as heir:
            assert [heir.told() for _ in indexes] == indexes
            until(lambda: impatient.length() == 0, "the heir has committed them")
        stopped.process.send_signal(signal.SIGCONT)
        index, _ = impatient.put("sink")
        assert stopped.told() == index, "it has connected again"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="making a connection vanish needs root")
def test_a_connection_whose_other_end_vanished_is_noticed_by_tcp(silent: Service) -> None:
    index, _ = silent.put("sink")
    headers = {**PROTOBUF, "X-EAS-QueueService-Redis-Uid": "vanished"}
    watch = WireSocket(silent, silent.path("sink"), WATCH, headers)
    assert read_item(watch.item()).index == index
    watch.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    watch.socket.close()
    assert silent.consumer("vanished")["Status"] == "Running", "nothing was sent"
    heir_headers = {**PROTOBUF, "X-EAS-QueueService-Redis-Uid": "heir"}
    with WireSocket(silent, silent.path("sink"), WATCH, heir_headers) as heir:
        assert read_item(heir.item()).index == index
    assert silent.consumer("vanished")["Status"] != "Running"
