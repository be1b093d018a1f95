"""`easel doctor` finds what is wrong, says what to do, and its exit status tells."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from easel_gateway.cli import doctor
from easel_gateway.cli.doctor import FAIL, OK, WARN, Finding
from easel_gateway.cli.settings import UpSettings


def run_doctor(data_dir: Path, **environment: str) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
    flags = ["--port", "0", "--data-dir", str(data_dir)]
    done = subprocess.run(
        [sys.executable, "-m", "easel_gateway.cli.main", "doctor", *flags],
        env={**kept, "EASEL_WORKERS": "0", **environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_a_healthy_machine(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "models/Stable-diffusion").mkdir(parents=True)
    status, said = run_doctor(tmp_path, EASEL_REDIS_URL=redis_url, EASEL_WORKERS="1", EASEL_DEVICE="cpu")
    assert status == 0, said
    assert "ok    redis     valkey" in said or "ok    redis     redis" in said
    assert "ok    storage" in said
    assert "warn  torch     torch 2" in said
    assert "on cpu" in said
    assert f"warn  models    no checkpoint in {tmp_path}/models/Stable-diffusion\n" in said
    assert "-> put a .safetensors file there" in said


def test_without_a_redis_url_it_says_what_up_would_start(tmp_path: Path) -> None:
    status, said = run_doctor(tmp_path / "not-there-yet")
    assert status == 0, said
    assert "`easel up` will start" in said


def test_a_redis_that_is_not_there(tmp_path: Path) -> None:
    status, said = run_doctor(tmp_path, EASEL_REDIS_URL=f"redis://:hushhush@{free_address()}")
    assert status == 1
    assert "FAIL  redis" in said
    assert "-> check EASEL_REDIS_URL" in said
    assert "hushhush" not in said


def test_an_s3_that_is_not_there(tmp_path: Path) -> None:
    status, said = run_doctor(
        tmp_path,
        EASEL_S3_ENDPOINT=free_address(),
        EASEL_S3_ACCESS_KEY="key",
        EASEL_S3_SECRET_KEY="hushhush",
    )
    assert status == 1
    assert "FAIL  storage" in said
    assert "-> check EASEL_S3_ENDPOINT" in said
    assert "hushhush" not in said


def test_a_data_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, said = run_doctor(tmp_path / "file")
    assert status == 1
    assert "FAIL  storage" in said
    assert "EASEL_DATA_DIR" in said


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = UpSettings(port=taken.getsockname()[1], data_dir=tmp_path)
        levels = [finding.level for finding in doctor.check_settings(settings)]
    assert levels == [OK, FAIL]


def test_a_wrong_device_is_the_worker_s_finding(tmp_path: Path) -> None:
    status, said = run_doctor(tmp_path, EASEL_WORKERS="1", EASEL_DEVICE="abacus")
    assert status == 1
    assert "FAIL  torch" in said


HEALTHY = {
    "redis_version": "7.2.4",
    "server_name": "valkey",
    "valkey_version": "9.1.2",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory_policy": "noeviction",
}


@pytest.mark.parametrize(
    ("change", "level", "advice"),
    [
        ({"redis_version": "6.0.16"}, FAIL, "6.2 or newer"),
        ({"aof_enabled": 0}, WARN, "appendonly yes"),
        ({"aof_last_write_status": "err"}, FAIL, "free space"),
        ({"maxmemory_policy": "allkeys-lru"}, FAIL, "noeviction"),
    ],
)
def test_what_is_wrong_with_a_redis(change: dict[str, Any], level: str, advice: str) -> None:
    assert [finding.level for finding in doctor.examine_redis(HEALTHY)] == [OK]
    found = [finding for finding in doctor.examine_redis({**HEALTHY, **change}) if finding.level != OK]
    assert [finding.level for finding in found] == [level]
    assert advice in found[0].advice


@pytest.mark.parametrize(
    ("info", "url", "wait_replicas", "advice"),
    [
        ({"cluster_enabled": 1}, "redis://h", 0, "redis+cluster://"),
        ({"cluster_enabled": 0}, "rediss+cluster://h", 0, "redis+cluster://"),
        ({"connected_slaves": 1}, "redis+sentinel://h/m", 2, "start replicas"),
        ({"cluster_enabled": 1, "connected_slaves": 1}, "redis+cluster://h", 1, ""),
        ({}, "redis://h", 0, ""),
    ],
)
def test_replication_that_does_not_fit(
    info: dict[str, Any], url: str, wait_replicas: int, advice: str
) -> None:
    found = list(doctor.examine_replication(info, url, wait_replicas))
    assert [finding.level for finding in found] == ([FAIL] if advice else [])
    assert all(advice in finding.advice for finding in found)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "level"), [(2**40, OK), (2**32, WARN), (2**28, FAIL)])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(2**41, 0, free))
    settings = UpSettings(data_dir=tmp_path / "not" / "there")
    assert [finding.level for finding in doctor.check_disk(settings)] == [level]


def test_every_bad_line_has_its_advice() -> None:
    text = str(Finding(FAIL, "redis", "gone", "start it"))
    assert text.split("\n") == ["FAIL  redis     gone", "                -> start it"]
