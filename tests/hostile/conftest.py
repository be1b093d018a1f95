"""Hostile clients against a real gateway process over the test run's Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from .gateways import GatewayProcess

StartProcess = Callable[..., GatewayProcess]

_numbers = count(1)


def same_examples(number: int) -> settings:
    """So many examples, and the same ones in every run."""
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def start_process(python: str, redis_url: str, service: str, tmp_path: Path) -> Iterator[StartProcess]:
    """Starts gateways with the given settings; all over the same Redis and service."""
    with ExitStack() as stack:

        def start(**settings: Any) -> GatewayProcess:
            folder = tmp_path / f"gateway{next(_numbers)}"
            gateway = GatewayProcess(
                python, folder, **{"redis_url": redis_url, "service": service, **settings}
            )
            stack.callback(gateway.stop)
            return gateway

        yield start


@pytest.fixture(scope="module")
def _shared(
    python: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("hostile")
    gateway = GatewayProcess(
        python,
        folder,
        redis_url=redis_url,
        service=f"hostile{next(_numbers)}",
        max_poll_s=0.5,
        sync_timeout_s=0.5,
    )
    yield gateway
    gateway.stop()


@pytest.fixture
def target(_shared: GatewayProcess) -> Iterator[GatewayProcess]:
    """A gateway that all tests of a file attack; it must be well after each one."""
    pid = _shared.process.pid
    yield _shared
    _shared.assert_well()
    assert _shared.process.pid == pid
    _shared.empty()
