"""Real clients against real processes: two services, started once for the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..e2e.conftest import sdk_python
from ..e2e.running import running
from .sdk import Sdk
from .service import TOKEN, Service

__all__ = ["sdk_python"]

HERE = Path(__file__).parent
HANDLERS = (
    "acceptance_handlers:ListHandler",
    "acceptance_handlers:TurningHandler",
    "acceptance_handlers:SilentHandler",
    "easel_worker.handlers.echo:EchoHandler",
)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`easel up` with one worker and default limits. Its service name has a dot, as in EAS's own tests.

    Only the group ``eas`` ever watches here: with a second one a commit would not empty the sink.
    """
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    environment = {
        "EASEL_SERVICE": "group.qservice",
        "EASEL_HANDLERS": ",".join(HANDLERS),
        "PYTHONPATH": path,
    }
    with running(tmp_path_factory.mktemp("serving"), token=TOKEN, **environment) as easel:
        yield Service(easel)


@pytest.fixture(scope="session")
def storing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`easel up` without workers and with narrow limits. Here, too, only the group ``eas`` watches."""
    environment = {
        "EASEL_SERVICE": "storing",
        "EASEL_QUEUE_MAX_LENGTH": "5",
        "EASEL_SINK_MAX_PAYLOAD_BYTES": "8192",
    }
    with running(tmp_path_factory.mktemp("storing"), workers=0, token=TOKEN, **environment) as easel:
        yield Service(easel)


@pytest.fixture
def easel(serving: Service) -> Service:
    """The serving service with empty queues, whatever the test before left there."""
    serving.clear()
    return serving


@pytest.fixture
def store(storing: Service) -> Service:
    """The service without workers, with empty queues."""
    storing.clear()
    return storing


@pytest.fixture
def sdk(sdk_python: Path, easel: Service) -> Sdk:
    """The official Python SDK in front of `easel`."""
    return Sdk(sdk_python, easel)


@pytest.fixture
def store_sdk(sdk_python: Path, store: Service) -> Sdk:
    """The official Python SDK in front of `store`."""
    return Sdk(sdk_python, store)
