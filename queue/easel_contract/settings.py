"""Settings that every process of a service shares, read from ``EASEL_*`` variables and checked at start."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from easel_contract.images import ImageRules
from easel_contract.limits import DEFAULT_MOUNTS, MAX_UNITS, Limits

S = TypeVar("S", bound=BaseSettings)

REDIS_SCHEMES = (
    "redis://",
    "rediss://",
    "unix://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
)
"""What a Redis URL begins with. Gateway and worker also check the rest, with the queue's own reader."""


CLAIM_BYTES = 256 * 1024
"""Default of EASEL_QUEUE_CLAIM_BYTES."""

MIN_CLAIM_BYTES = 4096
"""Below this a file costs more than it saves; and results that the gateway writes itself are smaller."""


def _claimable(value: int) -> int:
    if 0 < value < MIN_CLAIM_BYTES:
        raise ValueError(f"use 0 (off) or at least {MIN_CLAIM_BYTES}")
    return value


class CommonSettings(BaseSettings):
    """What gateway, worker and `easel up` agree on."""

    model_config = SettingsConfigDict(env_prefix="EASEL_", extra="ignore", env_ignore_empty=True)

    service: str = Field(
        "easel", description="Name of the service; part of its addresses and of its Redis keys."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="redis://, redis+sentinel:// or redis+cluster:// URL (rediss for TLS). Without it "
        "`easel up` starts a private server.",
    )
    redis_wait_replicas: int = Field(
        0,
        ge=0,
        le=10,
        description="Replicas that must have a put, result or commit before it is answered; see Replication.",
    )
    redis_wait_ms: int = Field(
        1000, ge=1, le=5000, description="Milliseconds to wait for them; then the answer is a 503."
    )
    data_dir: Path = Field(
        Path("data"), description="Models, embeddings, outputs and the private Redis live here."
    )
    default_checkpoint: str = Field(
        "",
        description="Checkpoint while neither the request nor the options name one; empty is the model "
        "directory's first by name.",
    )
    allow_pickle: bool = Field(
        False,
        description="Load weights from pickles (.pth, .pt) too, with torch's restricted reader; otherwise "
        "safetensors only.",
    )
    max_delivery: int = Field(
        3, ge=1, le=100, description="How often a task may be started before it is given up as a dead letter."
    )
    lease_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="A worker that is silent for this many seconds loses its task to another.",
    )
    queue_max_length: int = Field(10_000, ge=0, description="Tasks the input queue accepts; 0 is no limit.")
    queue_max_bytes: int = Field(
        1024**3,
        ge=0,
        description="Bytes of tasks (bodies and tags) that the input queue accepts; 0 is no limit.",
    )
    sink_max_length: int = Field(
        100_000, ge=0, description="Uncommitted results at which workers stop taking tasks; 0 is no limit."
    )
    sink_max_bytes: int = Field(
        4 * 1024**3, ge=0, description="Bytes of results at which workers stop taking tasks; 0 is no limit."
    )
    queue_sink_auto_evict: bool = Field(
        False, description="A full sink drops its oldest results instead, delivered or not."
    )
    queue_claim_bytes: Annotated[int, AfterValidator(_claimable)] = Field(
        CLAIM_BYTES,
        ge=0,
        description="Bodies and results of more bytes lie in the store instead of Redis; 0 is none. Gateways "
        "and workers must use the same store.",
    )
    dead_message_policy: Literal["Rear", "Drop"] = Field(
        "Rear", description="What becomes of a task that is given up: kept as a dead letter, or dropped."
    )

    s3_endpoint: str | None = Field(
        None,
        description="host:port or URL of an S3-compatible server; pictures go there instead of the data dir.",
    )
    s3_access_key: SecretStr | None = Field(None, description="S3 access key.")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key.")
    s3_bucket: str = Field("easel", description="Bucket for pictures; made if missing.")
    s3_region: str = Field("us-east-1", description="S3 region.")
    s3_secure: bool = Field(False, description="Use https when the endpoint does not say.")
    s3_prefix: str = Field("", description="Key prefix inside the bucket.")
    s3_presign_s: int = Field(
        3600,
        ge=1,
        le=604_800,
        description="How long presigned URLs are valid, in seconds (S3 allows a week).",
    )
    s3_public_endpoint: str = Field(
        "",
        description="Where clients reach the same S3 server, for presigned URLs; empty is s3_endpoint.",
    )
    mount_paths: Annotated[tuple[str, ...], NoDecode] = Field(
        DEFAULT_MOUNTS,
        description="Comma separated absolute prefixes for `save_dir`; each is the store's root.",
    )

    max_side: int = Field(2048, ge=64, le=16_384, description="Largest width or height, in pixels.")
    max_pixels: int = Field(2048 * 2048, ge=4096, description="Largest width x height.")
    max_steps: int = Field(150, ge=1, le=10_000, description="Largest number of sampling steps.")
    max_batch_size: int = Field(8, ge=1, le=256, description="Largest batch_size.")
    max_n_iter: int = Field(16, ge=1, le=1024, description="Largest n_iter.")
    max_script_images: int = Field(
        256, ge=1, le=10_000, description="Pictures that a request with a script may make, such as a plot."
    )

    controlnet_units: int = Field(
        MAX_UNITS, ge=1, le=100, description="Most ControlNet units that a request may have."
    )

    strict: bool = Field(
        True,
        description="Refuse unknown samplers, options, styles and networks; otherwise the result's info "
        "tells what was left out.",
    )

    image_max_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, description="Largest picture file in a request, after base64."
    )
    image_max_pixels: int = Field(
        50_000_000, ge=4096, description="Largest width x height of a picture in a request."
    )
    image_urls: bool = Field(True, description="Requests may name pictures by http(s) URL.")
    image_url_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma separated: fetch pictures from these hosts only (name, *.name, name:port); empty "
        "is any public host.",
    )
    image_url_local_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts (as above) that may be fetched from although their addresses are private.",
    )
    image_url_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        (80, 443), description="Ports that pictures may be fetched from, comma separated."
    )
    image_url_timeout_s: float = Field(
        30.0, gt=0, le=600, description="Seconds for fetching one picture, redirects included."
    )
    image_url_user_agent: str = Field("Easel", description="User-Agent header of these fetches.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")

    @field_validator("service")
    @classmethod
    def _service(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", value):
            raise ValueError("use 1 to 100 letters, digits, '_', '-' or '.', starting with a letter or digit")
        if value.endswith(".sync"):
            raise ValueError("must not end in '.sync': that suffix is the service's synchronous address")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(REDIS_SCHEMES):
            raise ValueError(f"use a URL that begins with one of {', '.join(REDIS_SCHEMES)}")
        return value

    @field_validator(
        "mount_paths", "image_url_hosts", "image_url_local_hosts", "image_url_ports", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("mount_paths")
    @classmethod
    def _mounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for mount in value:
            if not mount.startswith("/") or ".." in mount.split("/"):
                raise ValueError(f"{mount!r}: a mount path is absolute and has no '..'")
        return tuple(sorted((mount.rstrip("/") or "/" for mount in value), key=len, reverse=True))

    @field_validator("image_url_hosts", "image_url_local_hosts")
    @classmethod
    def _host_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if "/" in host or "@" in host or "*" in host.removeprefix("*.") or host in ("", "*."):
                raise ValueError(f"{host!r}: use a host such as minio, minio:9000 or *.example.com")
        return value

    @field_validator("image_url_ports")
    @classmethod
    def _ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 < port < 65_536 for port in value):
            raise ValueError("every port is a number from 1 to 65535")
        return value

    @field_validator("image_url_user_agent")
    @classmethod
    def _header_text(cls, value: str) -> str:
        if not (value.isascii() and value.isprintable()):
            raise ValueError("use printable ASCII characters")
        return value

    @model_validator(mode="after")
    def _s3(self) -> CommonSettings:
        if self.s3_endpoint and not (self.s3_access_key and self.s3_secret_key):
            raise ValueError("s3_endpoint is set: s3_access_key and s3_secret_key are needed too")
        return self

    @property
    def checkpoint_dir(self) -> Path:
        """Where checkpoints lie."""
        return self.data_dir / "models" / "Stable-diffusion"

    @property
    def hash_file(self) -> Path:
        """What checkpoints' hashes are remembered in."""
        return self.data_dir / "cache" / "hashes.json"

    def limits(self) -> Limits:
        """The part that requests are checked against."""
        return Limits(
            max_side=self.max_side,
            max_pixels=self.max_pixels,
            max_steps=self.max_steps,
            max_batch_size=self.max_batch_size,
            max_n_iter=self.max_n_iter,
            max_script_images=self.max_script_images,
            max_units=self.controlnet_units,
            mount_paths=self.mount_paths,
            images=self.image_rules(),
            strict=self.strict,
        )

    def image_rules(self) -> ImageRules:
        """What is accepted as a picture."""
        return ImageRules(
            max_bytes=self.image_max_bytes,
            max_pixels=self.image_max_pixels,
            urls=self.image_urls,
            hosts=self.image_url_hosts,
            local_hosts=self.image_url_local_hosts,
            ports=self.image_url_ports,
            timeout_s=self.image_url_timeout_s,
            user_agent=self.image_url_user_agent,
        )


class InvalidSettingsError(Exception):
    """Settings that cannot be used; the text names each wrong field, its variable and what would be right."""


def read_settings(model: type[S], **overrides: Any) -> S:
    """Settings from the environment, `overrides` (command line flags; None means not given) over it.

    Raises:
        InvalidSettingsError: names each wrong field. Values are not repeated: one of them may be a secret.
    """
    try:
        return model(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            field = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"EASEL_{field.upper()}: {message}" if field else message)
        raise InvalidSettingsError("\n".join(lines)) from None


def load(model: type[S], **overrides: Any) -> S:
    """`read_settings` for a program's main: says what is wrong and exits with status 2."""
    try:
        return read_settings(model, **overrides)
    except InvalidSettingsError as error:
        print(f"Easel cannot start with these settings:\n{error}", file=sys.stderr)
        raise SystemExit(2) from None
