"""What an operator may set for a worker: `EASEL_*` variables, checked at start."""

from __future__ import annotations

import os
import re
import secrets
import socket
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from easel_contract.settings import CommonSettings
from easel_queue import read_address

_WORKER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}\Z")


def default_worker_id() -> str:
    """``host-pid-random``: readable in the list of workers, and new for every process."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).strip("-.")[:40] or "worker"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"


class WorkerSettings(CommonSettings):
    """One worker process. What gateway and worker share is in `CommonSettings`."""

    worker_id: str = Field(
        default_factory=default_worker_id,
        description="Name in leases, heartbeats and logs, unique among the living workers; host-pid-random.",
    )
    device: str = Field("auto", description="auto (the first GPU, else the CPU), cpu, cuda or cuda:1.")
    dtype: str = Field("auto", description="auto (fp16 on CUDA, fp32 on the CPU), fp32, bf16 or fp16.")
    torch_threads: int = Field(0, ge=0, le=512, description="CPU threads of torch; 0 is torch's own choice.")
    prefetch: int = Field(
        1,
        ge=0,
        le=16,
        description="Tasks reserved ahead of the running one; 0 leaves them to other workers.",
    )
    batch_tasks: int = Field(
        1,
        ge=1,
        le=64,
        description="Waiting tasks, of any users, that are rendered in one batch where they differ in prompt "
        "and seed only; at most EASEL_MAX_BATCH_SIZE pictures at a time.",
    )
    ordered: bool = Field(
        False,
        description="Each user's tasks run one at a time, in order; the same as a maximum of 1 running.",
    )
    user_max_running: int = Field(
        0,
        ge=0,
        description="Tasks of one user that workers may have at a time, prefetched ones too; 0 is no limit.",
    )
    affinity_bypass: int = Field(
        8,
        ge=0,
        le=1000,
        description="How often a task may be passed over by others whose model is loaded; 0 is never.",
    )
    heartbeat_s: float = Field(
        5.0, gt=0, le=60, description="Seconds between heartbeats; a worker that misses three counts as gone."
    )
    drain_s: float = Field(
        600.0,
        ge=0,
        description="Seconds the running task may take after SIGTERM before it is given back.",
    )
    sd_dynamic_cache: bool = Field(
        True,
        description="Keep models in memory for later tasks, as many as fit; otherwise the checkpoint used "
        "last alone.",
    )
    min_ram_reserved: float = Field(
        4.0, ge=0, description="GB of RAM, the container's if it has less, that kept models leave free."
    )
    ram_cache_gb: float = Field(
        0.0, ge=0, description="Most GB of models in RAM; 0 is what EASEL_MIN_RAM_RESERVED leaves."
    )
    device_reserved_gb: float = Field(
        4.0, ge=0, description="GB of a GPU's memory that models leave free, for rendering."
    )
    device_cache_gb: float = Field(
        0.0, ge=0, description="Most GB of models on a GPU; 0 is what EASEL_DEVICE_RESERVED_GB leaves."
    )
    checkpoint_cache: int = Field(
        0, ge=0, le=1000, description="Most checkpoints kept in memory; 0 is as many as fit."
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port of this worker's Prometheus page; 0 is none."
    )
    metrics_host: str = Field("127.0.0.1", description="Address the Prometheus page listens on.")
    handlers: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "easel_worker.handlers.echo:EchoHandler",
            "easel_worker.handlers.generation:GenerationHandler",
            "easel_worker.handlers.extras:ExtrasHandler",
            "easel_worker.handlers.interrogate:InterrogateHandler",
            "easel_worker.handlers.detect:DetectHandler",
            "easel_worker.handlers.poses:PoseHandler",
        ),
        description="What the worker serves: module:attribute, comma separated.",
    )

    @field_validator("redis_url")
    @classmethod
    def _readable_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_address(value.get_secret_value())
        return value

    @field_validator("handlers", mode="before")
    @classmethod
    def _split_handlers(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("handlers")
    @classmethod
    def _check_handlers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [spec for spec in value if spec.count(":") != 1 or spec.startswith(":") or spec.endswith(":")]
        if wrong or not value:
            raise ValueError(
                f"use module:attribute, separated by commas; wrong: {wrong or 'the list is empty'}"
            )
        return value

    @field_validator("worker_id")
    @classmethod
    def _check_worker_id(cls, value: str) -> str:
        if not _WORKER_ID.match(value):
            raise ValueError("use 1 to 100 letters, digits, '_', '.', ':' or '-'")
        return value

    @property
    def user_max_working(self) -> int:
        """Tasks of one user that may be leased at a time; 0 is no limit."""
        return 1 if self.ordered else self.user_max_running

    @property
    def lease_ms(self) -> int:
        return int(self.lease_s * 1000)
