"""What a running gateway holds, and how a handler gets at it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from easel_claims import AsyncClaims
from easel_contract.checkpoints import Library
from easel_gateway.duties.options_follower import OptionsFollower
from easel_gateway.model_catalogue import ModelCatalogue
from easel_gateway.ops.metrics import Metrics
from easel_gateway.ops.probe import StoreProbe
from easel_gateway.settings import GatewaySettings
from easel_queue import AsyncQueue, EventHub
from easel_store import Store


@dataclass(frozen=True)
class Gateway:
    """The open connections of one process. Made at start-up, closed at shutdown."""

    settings: GatewaySettings
    queue: AsyncQueue
    hub: EventHub
    store: StoreProbe
    pictures: Store
    claims: AsyncClaims
    metrics: Metrics
    library: Library
    options: OptionsFollower
    files: ModelCatalogue
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to stop: long polls and event streams end now."""


def gateway_of(connection: HTTPConnection) -> Gateway:
    """The gateway that serves this request or WebSocket."""
    gateway = connection.app.state.gateway
    if not isinstance(gateway, Gateway):
        raise TypeError("the application's lifespan has not run")
    return gateway


def user_of(connection: HTTPConnection) -> str:
    """Who asks: the name of the token that was shown; "" when nobody was named."""
    return str(connection.scope.get("state", {}).get("user", ""))


def request_id_of(connection: HTTPConnection) -> str:
    """The id of this request, which is also the id of the task it makes."""
    return str(connection.scope["state"]["request_id"])
