"""Whose a task is, how much of that user's the queue takes, and what the task has in common with others."""

from __future__ import annotations

import hashlib

from starlette.requests import Request

from easel_contract.errors import ContractError
from easel_contract.needs import checkpoint_need, needs_of
from easel_contract.requests import GENERATION_PATHS, GenerationRequest, parse_request
from easel_gateway.eas.target import UID_HEADER
from easel_gateway.edge.guards import header
from easel_gateway.gateway import gateway_of, user_of
from easel_queue import Kin, Origin, Whose

GENERATION = frozenset({"", *(path.strip("/") for path in GENERATION_PATHS)})
"""Paths that are rendered with a checkpoint; the bare service address is txt2img's."""

_UID = UID_HEADER.lower().encode()

MAX_USER_CHARS = 200
"""A longer name is replaced by its digest: names are parts of Redis keys."""

MAX_READ_BYTES = 64 * 1024
"""Bodies of the EAS addresses are read for what they need up to this size; a larger one holds an image."""

_NAMES_SOMETHING = (b"sd_model_checkpoint", b"<lora:", b"<lyco:", b"<hypernet:", b'"infotext"')


def origin_of(request: Request, wanted: GenerationRequest | None = None) -> Origin:
    """The user: the token's name, else the request's ``uid`` (in `alwayson_scripts`, or the SDKs' header)."""
    settings = gateway_of(request).settings
    uid = wanted.options.uid if wanted else None
    user = as_stored(user_of(request) or uid or header(request.scope, _UID) or "")
    return Origin(
        user,
        share=settings.user_shares.get(user, 1.0),
        max_waiting=settings.user_max_waiting,
        per_minute=settings.user_tasks_per_minute,
    )


def as_stored(user: str) -> str:
    """A user as the queue knows them: a long name is replaced by its digest."""
    return user if len(user) <= MAX_USER_CHARS else hashlib.sha256(user.encode()).hexdigest()


def own_tasks(request: Request) -> Whose:
    """Whose tasks the caller may look into and interrupt: its own, unless the operator lets everybody do so.

    A named token's are those of that name. Callers without a name are one user (the service's anonymous one),
    whatever ``uid`` their requests give; one who sends the SDKs' header means the tasks of that uid only.
    """
    settings = gateway_of(request).settings
    if settings.interrupt_anyone:
        return Whose()
    if name := user_of(request):
        return Whose(frozenset({as_stored(name)}))
    named = frozenset(as_stored(name) for name in settings.users())
    uid = as_stored(request.headers.get(UID_HEADER, ""))
    if uid and uid not in named:
        return Whose(frozenset({uid}))
    return Whose(named, others=True) if named else Whose()


def kin_of(request: Request, data: bytes, path: str, wanted: GenerationRequest | None = None) -> Kin:
    """What the task needs. An EAS put may be any bytes: what cannot be read has no known needs."""
    gateway = gateway_of(request)
    if wanted is None:
        if path.strip("/") not in GENERATION:
            return Kin()
        if len(data) > MAX_READ_BYTES or not any(name in data for name in _NAMES_SOMETHING):
            return Kin(models=(checkpoint_need(gateway.options.current.get("sd_model_checkpoint")),))
        try:
            wanted = parse_request(path, data, gateway.settings.limits())
        except ContractError:
            return Kin()
        if wanted is None:
            return Kin()
    needs = needs_of(wanted, gateway.library.canonical, gateway.options.current)
    return Kin(needs.batch, needs.models)
