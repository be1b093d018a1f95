"""Real clients against real processes: services that are started once for the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from easel_worker.models.starter import install_shapes

from ..e2e.conftest import sdk_python
from ..e2e.running import Running, running
from ..small_models.control import add_control
from .a1111 import ALICE, BOB, PictureHost, gradient, picture_host
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


@pytest.fixture(scope="session")
def pictures() -> Iterator[PictureHost]:
    """A local host whose pictures the rendering service may fetch."""
    with picture_host(gradient((96, 96))) as host:
        yield host


def with_models(data_dir: Path) -> Path:
    """The shipped model and a ControlNet in a data directory, by the names of the guide too."""
    for name in ("easel-shapes", "deliberate_v2"):
        install_shapes(data_dir / "models" / "Stable-diffusion" / name)
    add_control(data_dir, "deliberate_v2", "control_v11p_sd15_canny")
    return data_dir


@pytest.fixture(scope="session")
def rendering(tmp_path_factory: pytest.TempPathFactory, pictures: PictureHost) -> Iterator[Running]:
    """`easel up` with two checkpoints, two users who have passwords, and a token of the operator's."""
    data_dir = with_models(tmp_path_factory.mktemp("rendering"))
    environment = {
        "EASEL_API_AUTH": ",".join(f"{name}:{word}" for name, word in (ALICE, BOB)),
        "EASEL_DEFAULT_CHECKPOINT": "easel-shapes",
        "EASEL_IMAGE_URL_LOCAL_HOSTS": pictures.authority,
        "EASEL_SERVICE": "webui",
    }
    with running(data_dir, token=TOKEN, **environment) as easel:
        yield easel


@pytest.fixture(scope="session")
def lenient(tmp_path_factory: pytest.TempPathFactory, pictures: PictureHost) -> Iterator[Running]:
    """`easel up` that leaves out what it cannot do, as A1111 does, and says so."""
    data_dir = with_models(tmp_path_factory.mktemp("lenient"))
    environment = {"EASEL_STRICT": "false", "EASEL_IMAGE_URL_LOCAL_HOSTS": pictures.authority}
    with running(data_dir, **environment) as easel:
        yield easel


@pytest.fixture
def a1111(rendering: Running) -> Iterator[Running]:
    """The rendering service, with empty queues before and after."""
    rendering.clear()
    yield rendering
    rendering.clear()
