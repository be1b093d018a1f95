"""Shared by all tests: one real Redis per test process, one service name per test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from easel_queue import embedded

# What a developer has set for their own Easel must not reach the tests.
for _name in [name for name in os.environ if name.startswith("EASEL_")]:
    del os.environ[_name]

if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes of a run that is shared out (`pytest -n 2`) share the cores too, and so do the programs
    # that they start. torch reads this when it is imported; on too many threads it waits for itself.
    _processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // _processes))

_numbers = count(1)

Render = Callable[..., NDArray[np.uint8]]


@dataclass
class RedisServer:
    """A private Redis that a test may kill and start again; it comes back with its data."""

    data_dir: Path
    port: int
    password: str
    fsync: embedded.Fsync = "always"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return embedded.url(port=self.port, password=self.password)

    def start(self) -> None:
        """Start it and wait until it answers. A missing server program is an error, never a skip."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        program = embedded.find_server()
        log = (self.data_dir / "server.log").open("ab")
        self.process = subprocess.Popen(program.command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert self.process.stdin is not None
        text = embedded.configuration(
            port=self.port, password=self.password, data_dir=self.data_dir, fsync=self.fsync
        )
        self.process.stdin.write(text.encode())
        self.process.stdin.close()
        deadline = time.monotonic() + 30
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError((self.data_dir / "server.log").read_text()) from None
                    time.sleep(0.02)  # polling a server that has no other way to say that it is up

    def kill(self) -> None:
        """`kill -9`, as the out-of-memory killer would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """This test process's Redis. Tests must not stop it; one that wants to takes `own_redis`."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), embedded.free_port(), embedded.new_password())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """Address of `redis_server`."""
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be killed and started again."""
    server = RedisServer(tmp_path / "redis", embedded.free_port(), embedded.new_password())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def service() -> str:
    """A service name that no other test on the same Redis uses."""
    return f"test{next(_numbers)}"


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter of this environment, for starting our own programs."""
    return sys.executable


@pytest.fixture(scope="session")
def shapes_checkpoint() -> Any:
    """The shipped model in fp32 on the CPU, as the worker loads it."""
    import torch  # here: most tests need no torch, which takes seconds to import

    from easel_shapes import model_folder
    from easel_worker.diffusion.checkpoint import load_checkpoint

    return load_checkpoint(model_folder(), device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def render(shapes_checkpoint: Any) -> Render:
    """`render("a red circle on a blue background", seed=3)`: a picture of the shipped model, in this process.

    128 x 128 in 20 steps of DPM++ 2M at CFG 7, on one thread; other fields of `draw` and
    A1111's options go by their names.
    (height, width, 3) uint8, for `looking.look`.
    """
    import torch

    from easel_worker.generation.drawing import draw

    def render(prompt: str, *, seed: int = 0, **fields: Any) -> NDArray[np.uint8]:
        usual = {"width": 128, "height": 128, "steps": 20, "cfg_scale": 7.0, "sampler": "DPM++ 2M"}
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return draw(shapes_checkpoint, prompt, seeds=(seed,), **{**usual, **fields})[0]
        finally:
            torch.set_num_threads(before)

    return render
