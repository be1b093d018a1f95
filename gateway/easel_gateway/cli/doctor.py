"""`easel doctor`: is everything there that `easel up` will need, and what to do about what is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easel_gateway.cli import ready
from easel_gateway.cli.runfile import RunFolder
from easel_gateway.cli.settings import UpSettings
from easel_queue import Queue, QueueError, QueueUnavailableError, embedded
from easel_store import StoreError, configured_store

OK, WARN, FAIL = "ok", "warn", "FAIL"

LOW_DISK_BYTES = 10 * 2**30
"""A checkpoint has 2 to 7 GB; below this the next one may not fit."""
FULL_DISK_BYTES = 2**29
"""The queue's file is rewritten beside itself: with less than this, accepting tasks is at risk."""
TORCH_TIMEOUT_S = 180.0
"""A first `import torch` from a cold disk takes its time."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. `advice` says what to do; only an ok needs none."""

    level: str
    what: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<4}  {self.what:<8}  {self.text}"
        return f"{line}\n{'':16}-> {self.advice}" if self.advice else line


def run_doctor(settings: UpSettings) -> int:
    """Print a line for every check; 1 if anything failed."""
    failed = False
    for check in (check_settings, check_redis, check_storage, check_disk, check_worker):
        for finding in check(settings):
            print(finding, flush=True)
            failed = failed or finding.level == FAIL
    return 1 if failed else 0


Check = Callable[[UpSettings], Iterator[Finding]]


def check_settings(settings: UpSettings) -> Iterator[Finding]:
    """The gateway's address and who may use it. What is wrong in itself was refused before."""
    tokens, passwords = len(settings.named_tokens()), len(settings.passwords())
    counted = ((tokens, "token"), (passwords, "password"))
    known = [f"{count} {what}{'s' if count != 1 else ''}" for count, what in counted if count]
    who = " and ".join(known) or "no tokens, this machine only"
    yield Finding(OK, "gateway", f"{settings.host}:{settings.port}, service {settings.service}, {who}")
    if RunFolder(Path(settings.data_dir).absolute()).held():
        return  # our own gateway has the port
    problem = ready.port_problem(settings.host, settings.port)
    if problem:
        text, _, advice = problem.partition("; ")
        yield Finding(FAIL, "gateway", text, advice or "set EASEL_HOST and EASEL_PORT")


def check_redis(settings: UpSettings) -> Iterator[Finding]:
    """The server that is used, or would be started: reachable, new enough, durable, never forgetting."""
    folder = RunFolder(Path(settings.data_dir).absolute())
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    if not url and folder.held():
        url = str((folder.read() or {}).get("redis_url", ""))
    if not url:
        try:
            program = embedded.find_server()
        except embedded.ServerNotFoundError as exc:
            text, _, advice = str(exc).partition(". ")
            yield Finding(FAIL, "redis", text, advice)
            return
        number = ".".join(map(str, program.version))
        yield Finding(OK, "redis", f"`easel up` will start {program.path} {number} (from {program.source})")
        return
    queue = Queue(url, service=settings.service)
    try:
        queue.ping()
        info = queue.info()
    except (QueueUnavailableError, QueueError) as exc:
        yield Finding(
            FAIL, "redis", str(exc), "check EASEL_REDIS_URL, its password, and that the server runs"
        )
        return
    finally:
        queue.close()
    yield from examine_redis(info)
    yield from examine_replication(info, url, settings.redis_wait_replicas)


def examine_replication(info: dict[str, Any], url: str, wait_replicas: int) -> Iterator[Finding]:
    """Whether the address and EASEL_REDIS_WAIT_REPLICAS fit what an INFO says about replicas and cluster."""
    clustered = bool(int(info.get("cluster_enabled", 0)))
    if clustered != ("+cluster://" in url):
        is_one = "is one node of a Redis Cluster" if clustered else "is no Redis Cluster"
        yield Finding(
            FAIL,
            "redis",
            f"this server {is_one}",
            "use a redis+cluster:// address for clusters only",
        )
    replicas = int(info.get("connected_slaves", 0))
    if replicas < wait_replicas:
        yield Finding(
            FAIL, "redis", f"EASEL_REDIS_WAIT_REPLICAS={wait_replicas}, the master has {replicas} replicas",
            "start replicas, or set it lower: every put would be answered 503",
        )  # fmt: skip


def examine_redis(info: dict[str, Any]) -> Iterator[Finding]:
    """What an INFO says about versions, durability and memory."""
    name = str(info.get("server_name", "redis"))
    version = str(info.get(f"{name}_version") or info.get("redis_version", "?"))
    compatible = tuple(int(part) for part in str(info.get("redis_version", "0.0")).split(".")[:2])
    if compatible < embedded.MIN_VERSION:
        yield Finding(FAIL, "redis", f"{name} {version} is too old", "use Redis 6.2 or newer, or Valkey")
    else:
        yield Finding(OK, "redis", f"{name} {version} answers")
    if not int(info.get("aof_enabled", 0)):
        yield Finding(
            WARN, "redis", "no append-only file: a restart of Redis loses accepted tasks",
            "set `appendonly yes` and `appendfsync always` in its configuration",
        )  # fmt: skip
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(
            FAIL, "redis", "it cannot write its append-only file", "free space on its disk; see its log"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        yield Finding(
            FAIL, "redis", f"maxmemory-policy {policy}: it will forget tasks when memory is short",
            "set `maxmemory-policy noeviction`",
        )  # fmt: skip


def check_storage(settings: UpSettings) -> Iterator[Finding]:
    """Write, read and delete a probe where pictures will go."""
    data_dir = Path(settings.data_dir).absolute()
    try:
        if not settings.s3_endpoint:
            data_dir.mkdir(parents=True, exist_ok=True)
        configured_store(settings).check()
    except StoreError as exc:
        text, _, advice = str(exc).rpartition("; ")
        yield Finding(FAIL, "storage", text or str(exc), advice)
    except OSError as exc:
        yield Finding(
            FAIL, "storage", f"{data_dir}: {exc.strerror}", "set EASEL_DATA_DIR to a folder to write to"
        )
    else:
        where = (
            f"S3 {settings.s3_endpoint}, bucket {settings.s3_bucket}" if settings.s3_endpoint else data_dir
        )
        yield Finding(OK, "storage", f"{where}: a probe was written, read and deleted")


def check_disk(settings: UpSettings) -> Iterator[Finding]:
    """Free space where the data directory is, or will be."""
    folder = Path(settings.data_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    if free < FULL_DISK_BYTES:
        yield Finding(FAIL, "disk", text, "free some space: the queue cannot be stored safely")
    elif free < LOW_DISK_BYTES:
        yield Finding(WARN, "disk", text, "free some space: another checkpoint may not fit")
    else:
        yield Finding(OK, "disk", text)


def check_worker(settings: UpSettings) -> Iterator[Finding]:
    """Ask the worker's own doctor, in its own process: torch is not imported here."""
    if not settings.workers:
        yield Finding(OK, "worker", "EASEL_WORKERS=0: workers run elsewhere")
        return
    try:
        said = subprocess.run(
            [sys.executable, "-m", "easel_worker", "doctor"],
            capture_output=True, text=True, timeout=TORCH_TIMEOUT_S, check=False,
        )  # fmt: skip
        facts = json.loads(said.stdout.strip().rpartition("\n")[2])
    except subprocess.TimeoutExpired:
        yield Finding(
            FAIL, "worker", f"no answer in {TORCH_TIMEOUT_S:.0f} s", "run `python -m easel_worker doctor`"
        )
        return
    except ValueError:
        reason = said.stderr.strip().rpartition("\n")[2] or f"exit status {said.returncode}"
        yield Finding(FAIL, "worker", reason, 'install the worker: pip install "easel[worker]"')
        return
    yield from examine_worker(facts)


def examine_worker(facts: dict[str, Any]) -> Iterator[Finding]:
    """What the worker's doctor found out about torch and models."""
    if facts.get("error"):
        text, _, advice = str(facts["error"]).rpartition(": ")
        yield Finding(FAIL, "torch", text or advice, advice if text else "check EASEL_DEVICE and EASEL_DTYPE")
    else:
        device, name = str(facts.get("device", "?")), facts.get("device_name", "")
        if isinstance(name, dict):
            name = name.get("name", "")
        text = f"torch {facts.get('torch', '?')} on {device} ({facts.get('dtype', '?')}) {name}".rstrip()
        if device.startswith("cpu"):
            yield Finding(WARN, "torch", text, "fine for a try; a full-size model wants a GPU")
        else:
            yield Finding(OK, "torch", text)
    folder, count = facts.get("model_dir", "?"), facts.get("checkpoints", 0)
    if count:
        yield Finding(OK, "models", f"{count} checkpoint{'s' if count != 1 else ''} in {folder}")
    else:
        yield Finding(WARN, "models", f"no checkpoint in {folder}", "put a .safetensors file there")
