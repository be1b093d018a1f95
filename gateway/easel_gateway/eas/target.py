"""Which queue an EAS address means, and who is asking."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from easel_gateway.edge.guards import header
from easel_gateway.errors import ApiError
from easel_gateway.gateway import gateway_of
from easel_queue import AsyncQueue, StreamCalls

UID_HEADER = "X-EAS-QueueService-Redis-Uid"
GID_HEADER = "X-EAS-QueueService-Redis-Gid"
PRIORITY_HEADER = "X-EAS-QueueService-Redis-Priority"
"""Our choice: clients learn the name from the attribute ``meta.header.priority``."""
REAR_HEADER = "X-EAS-QueueService-Access-Rear"
REQUEST_ID_HEADER = "X-Eas-Queueservice-Request-Id"
_REAR = REAR_HEADER.lower().encode()
DEFAULT_GROUP = "eas"
MAX_NAME = 200


@dataclass(frozen=True)
class Target:
    """The queue that is addressed: `name` is ``in``, ``sink`` or ``rear`` as in `EventHub.on_queue`;
    `path` is what the request is for, such as ``/sdapi/v1/txt2img``."""

    name: str
    path: str = ""

    def stream(self, queue: AsyncQueue) -> StreamCalls:
        """The calls of this queue."""
        return {"in": queue.source, "sink": queue.sink, "rear": queue.rear}[self.name]


@dataclass(frozen=True)
class Consumer:
    """Who asks: consumer group and consumer id."""

    group: str
    uid: str


def target_of(connection: HTTPConnection) -> Target:
    """The queue that ``/api/predict/<service>[/sink | /path...]`` names.

    Raises:
        ApiError: 404 for another service, and for the rear of the sink, which has none.
    """
    service, _, rest = str(connection.path_params["rest"]).strip("/").partition("/")
    own = gateway_of(connection).settings.service
    if service != own:
        raise ApiError(404, f"No service {service[:100]!r} here; this is {own!r}.")
    rear = (header(connection.scope, _REAR) or "").lower() == "true"
    if rest == "sink":
        if rear:
            raise ApiError(404, "The sink has no rear queue; dead letters are at the input's.")
        return Target("sink")
    return Target("rear" if rear else "in", f"/{rest}" if rest else "")


def consumer_of(connection: HTTPConnection) -> Consumer:
    """Group and id from the headers; the group is ``eas`` and the id random when they are absent.

    Raises:
        ApiError: 400 when one is longer than 200 characters.
    """
    group = connection.headers.get(GID_HEADER) or DEFAULT_GROUP
    uid = connection.headers.get(UID_HEADER) or str(uuid.uuid4())
    for name, value in ((GID_HEADER, group), (UID_HEADER, uid)):
        if len(value) > MAX_NAME:
            raise ApiError(400, f"{name}: at most {MAX_NAME} characters")
    return Consumer(group, uid)
