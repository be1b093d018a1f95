"""Settings of `easel up`: the gateway's and the common ones, and how many processes of what kind."""

from __future__ import annotations

from pydantic import Field

from easel_gateway.settings import GatewaySettings
from easel_queue.embedded import Fsync


class UpSettings(GatewaySettings):
    """One ``EASEL_*`` variable each; a flag of the command line wins over its variable."""

    workers: int = Field(
        1, ge=0, le=64, description="Worker processes, spread over the GPUs; 0 when they run elsewhere."
    )
    stop_grace_s: float = Field(
        60.0,
        ge=0,
        description="Seconds that workers get to finish a picture after Ctrl-C; the rest waits queued.",
    )
    redis_fsync: Fsync = Field(
        "always", description="When the private Redis writes to disk: always, everysec or no; see Durability."
    )
