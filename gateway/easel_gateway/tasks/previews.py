"""Pictures of unfinished tasks."""

from __future__ import annotations

import base64

from easel_gateway.gateway import Gateway
from easel_queue import Preview


async def newest_preview(gateway: Gateway, request_id: str, *, known: int = -1) -> Preview | None:
    """A task's newest preview; None while there is none, or none newer than the `known` one."""
    preview = await gateway.queue.run(gateway.queue.tasks.show_preview(request_id, known=known))
    return preview if preview is not None and preview.data else None


def data_uri(preview: Preview) -> str:
    """As an address that an `<img>` takes."""
    return f"data:{preview.media_type};base64,{base64.b64encode(preview.data).decode()}"
