"""The gateway's settings: one ``EASEL_*`` variable each, validated at start."""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode
from typing_extensions import Self

from easel_contract.settings import CommonSettings
from easel_gateway.eas.durations import parse_duration
from easel_queue import read_address

MIN_TOKEN_LENGTH = 4
"""Shorter tokens are refused as mistakes. What resists guessing is longer; the docs say how to make one."""


class GatewaySettings(CommonSettings):
    """Everything the gateway can be told.

    Raises:
        pydantic.ValidationError: a field is wrong, or the address is reachable from outside while no
            token is set (names EASEL_TOKENS and EASEL_HOST).
    """

    host: str = Field("127.0.0.1", description="Address to listen on; other than loopback only with tokens.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes any free one.")
    tokens: SecretStr = Field(
        SecretStr(""),
        description="token or name:token, comma separated; the name becomes the user of what it allows.",
    )
    api_auth: SecretStr = Field(
        SecretStr(""),
        description="user:password, comma separated, for HTTP Basic beside the tokens, as A1111's "
        "--api-auth; the name becomes the user of what is sent.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins, as https://app.example.com, whose pages may call the API from a browser; comma "
        "separated, * is any.",
    )
    cors_origins_regex: str = Field("", description="The same as a regular expression of the whole origin.")
    api_server_stop: bool = Field(
        False, description="Allow /sdapi/v1/server-stop and server-kill, which end this gateway."
    )
    public_paths: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Exact paths that need no token, comma separated; /healthz,/readyz suits a simple probe.",
    )
    sync_timeout_s: float = Field(
        0.0,
        ge=0,
        description="A synchronous call that takes longer is answered 408, its task cancelled; 0 is never.",
    )
    cancel_on_disconnect: bool = Field(
        True, description="Cancel the task of a synchronous caller that hangs up."
    )
    interrupt_anyone: bool = Field(
        False,
        description="Interrupt, skip, progress and the scheduler's calls concern every user's tasks, not "
        "only the caller's own.",
    )
    max_body_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="Larger request bodies are answered 413, before they are read."
    )
    max_bodies_bytes: int = Field(
        512 * 1024 * 1024,
        ge=1024,
        description="The bodies of all requests in work together; one that goes beyond is answered 503.",
    )
    request_timeout_s: float = Field(
        30.0,
        gt=0,
        description="Time for a request's head, and for its body, which gets a second more for every 500 "
        "bytes; a slower one is answered 408.",
    )
    max_connections: int = Field(
        10_000, ge=1, description="Open connections, watchers included; one more is answered 503."
    )
    queue_max_payload_bytes: int = Field(
        0, ge=0, description="The same for one task of the input queue; 0 is EASEL_MAX_BODY_BYTES."
    )
    sink_max_payload_bytes: int = Field(
        0, ge=0, description="The same for what clients put into the sink; 0 is EASEL_MAX_BODY_BYTES."
    )
    queue_source_auto_evict: bool = Field(
        False,
        description="A full input queue drops its oldest waiting tasks instead of refusing; "
        "each gets a result that says so.",
    )
    user_shares: Annotated[dict[str, float], NoDecode] = Field(
        {},
        description="name=share, comma separated, such as alice=2,batch=0.5: how many turns a user gets when "
        "others get one.",
    )
    user_max_waiting: int = Field(0, ge=0, description="Waiting tasks that one user may have; 0 is no limit.")
    user_tasks_per_minute: int = Field(
        0, ge=0, description="Tasks that one user may send within any minute; 0 is no limit."
    )
    max_idle: float = Field(
        0.0,
        ge=0,
        description="Longest time that one delivery may take, as 90 (seconds) or 1m30s, before the task is "
        "taken from its worker and delivered again; 0 is any time.",
    )
    max_poll_s: float = Field(
        300.0, gt=0, description="Longest wait of a long-polling get; a longer _timeout_ is cut to this."
    )
    ws_ping_s: float = Field(20.0, gt=0, description="Pause between WebSocket pings.")
    # Long on purpose: the official Python SDK answers pings only while it asks for the next item, so this
    # must exceed a consumer's time for one item. Vanished hosts are noticed by TCP keep-alive.
    ws_pong_timeout_s: float = Field(
        600.0, gt=0, description="A WebSocket peer that leaves a ping unanswered for this long is gone."
    )
    watcher_ttl_s: float = Field(
        15.0, ge=1, description="A watcher whose gateway died counts as gone after this many seconds."
    )
    shutdown_grace_s: int = Field(
        20, ge=0, description="After SIGTERM, how long running synchronous calls may still be answered."
    )
    reap_interval_s: float = Field(
        1.0, gt=0, description="Pause between two looks for expired leases and vanished watchers."
    )

    claim_grace_s: float = Field(
        60.0,
        ge=0,
        description="How long a large body stays in the store after its item was removed, for readers that "
        "saw the item just before.",
    )

    @field_validator("redis_url")
    @classmethod
    def _readable_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_address(value.get_secret_value())
        return value

    @field_validator("public_paths", "cors_origins", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("cors_origins")
    @classmethod
    def _sound_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(origin == "*" or re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin) for origin in value):
            raise ValueError("an origin is scheme://host or scheme://host:port without a path, or *")
        return value

    @field_validator("cors_origins_regex")
    @classmethod
    def _sound_regex(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value

    @field_validator("api_auth")
    @classmethod
    def _sound_auth(cls, value: SecretStr) -> SecretStr:
        for part in filter(None, (part.strip() for part in value.get_secret_value().split(","))):
            user, colon, password = part.partition(":")
            if not (user and colon and password) or ":" in password:
                raise ValueError("use user:password, comma separated; neither has a colon or a comma")
            if len(password) < MIN_TOKEN_LENGTH:
                raise ValueError(f"every password needs at least {MIN_TOKEN_LENGTH} characters")
        return value

    @field_validator("public_paths")
    @classmethod
    def _absolute_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(path.startswith("/") for path in value):
            raise ValueError("every path starts with '/'")
        return value

    @field_validator("max_idle", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return parse_duration(value.strip()) if isinstance(value, str) else value

    @field_validator("user_shares", mode="before")
    @classmethod
    def _split_shares(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.rpartition("=") for part in value.split(",") if part.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError("use name=share, separated by commas, as alice=2,batch=0.5")
        return {name.strip(): share.strip() for name, _, share in pairs}

    @field_validator("user_shares")
    @classmethod
    def _sound_shares(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(0.001 <= share <= 1000 for share in value.values()):
            raise ValueError("every share is a number from 0.001 to 1000")
        return value

    @field_validator("tokens")
    @classmethod
    def _sound_tokens(cls, value: SecretStr) -> SecretStr:
        for token in parse_tokens(value):
            if len(token) < MIN_TOKEN_LENGTH:
                raise ValueError(f"every token needs at least {MIN_TOKEN_LENGTH} characters")
            if not (token.isascii() and token.isprintable()) or " " in token:
                raise ValueError("use printable ASCII characters without spaces")
        return value

    @model_validator(mode="after")
    def _room_for_one_body(self) -> Self:
        if self.max_bodies_bytes < self.max_body_bytes:
            raise ValueError(
                f"EASEL_MAX_BODIES_BYTES={self.max_bodies_bytes} is less than one body may have: "
                f"EASEL_MAX_BODY_BYTES={self.max_body_bytes}"
            )
        return self

    @model_validator(mode="after")
    def _no_open_door(self) -> Self:
        if not self.named_tokens() and not self.passwords() and not is_loopback(self.host):
            raise ValueError(
                f"EASEL_HOST={self.host} lets other machines in, and no token is set: "
                "set EASEL_TOKENS (or EASEL_API_AUTH), or use EASEL_HOST=127.0.0.1"
            )
        return self

    def payload_limit(self, queue: str) -> tuple[int, str]:
        """Largest body that a client may put into `queue` (``in``, ``sink``, ``rear``), and what sets it.

        What is in the rear came from the input, so it has the input's limit.
        """
        field = "sink_max_payload_bytes" if queue == "sink" else "queue_max_payload_bytes"
        own: int = getattr(self, field)
        if own and own < self.max_body_bytes:
            return own, f"EASEL_{field.upper()}"
        return self.max_body_bytes, "EASEL_MAX_BODY_BYTES"

    def named_tokens(self) -> dict[str, str]:
        """Token -> name of its user ("" when it was given without one)."""
        return parse_tokens(self.tokens)

    def own_authorization(self) -> str:
        """An `Authorization` that this service lets in, for our own probes; "" where it wants none."""
        for token in self.named_tokens():
            return token
        for user, password in self.passwords().items():
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return ""

    def users(self) -> frozenset[str]:
        """The users that tokens and passwords name."""
        return frozenset({*self.named_tokens().values(), *self.passwords()} - {""})

    def passwords(self) -> dict[str, str]:
        """User -> password of HTTP Basic."""
        parts = (part.strip().partition(":") for part in self.api_auth.get_secret_value().split(","))
        return {user: password for user, _, password in parts if user}


def parse_tokens(tokens: SecretStr) -> dict[str, str]:
    """Read ``token`` and ``name:token`` items, comma separated."""
    named: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in tokens.get_secret_value().split(","))):
        name, colon, token = item.partition(":")
        if colon:
            named[token] = name
        else:
            named[name] = ""
    return named


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost counts as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
