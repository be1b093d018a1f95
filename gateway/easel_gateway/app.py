"""Puts the gateway together."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from easel_claims import AsyncClaims, Depot
from easel_contract.checkpoints import Library
from easel_contract.controlnet.detect import DetectRequest
from easel_contract.controlnet.poses import Pose
from easel_contract.extras import ExtrasBatchRequest, ExtrasSingleRequest, InterrogateRequest
from easel_contract.requests import Img2ImgRequest, Txt2ImgRequest
from easel_gateway.agent_scheduler.queue_routes import router as scheduler_queue_router
from easel_gateway.agent_scheduler.task_routes import TaskChange
from easel_gateway.agent_scheduler.task_routes import router as scheduler_task_router
from easel_gateway.agent_scheduler.transfer import ImportRequest
from easel_gateway.agent_scheduler.transfer import router as transfer_router
from easel_gateway.controlnet.calls import router as control_calls_router
from easel_gateway.controlnet.lists import router as control_lists_router
from easel_gateway.dead.routes import RequeueMany
from easel_gateway.dead.routes import router as dead_router
from easel_gateway.duties.claim_sweeper import ClaimSweeper
from easel_gateway.duties.options_follower import OptionsFollower
from easel_gateway.duties.reaper import Reaper
from easel_gateway.duties.sweeper import Sweeper
from easel_gateway.eas.routes import router as eas_router
from easel_gateway.eas.watch import REFRESHES
from easel_gateway.edge.auth import Auth
from easel_gateway.edge.bare_address import BareAddress
from easel_gateway.edge.boundary import ErrorBoundary
from easel_gateway.edge.compress import CompressMiddleware
from easel_gateway.edge.cross_site import CrossSite
from easel_gateway.edge.guards import GuardsMiddleware
from easel_gateway.edge.measure import MeasureMiddleware
from easel_gateway.edge.origins import OriginsMiddleware
from easel_gateway.edge.receiving import ReceivingMiddleware
from easel_gateway.edge.request_id import RequestIdMiddleware
from easel_gateway.edge.schema import describe
from easel_gateway.edge.short_routes import ShortRoutesMiddleware
from easel_gateway.edge.sync_address import SyncAddress
from easel_gateway.errors import refuse_route
from easel_gateway.gateway import Gateway
from easel_gateway.internal.routes import TaskProgressRequest
from easel_gateway.internal.routes import router as internal_router
from easel_gateway.model_catalogue import open_catalogue
from easel_gateway.ops.metrics import Metrics
from easel_gateway.ops.probe import StoreProbe
from easel_gateway.ops.routes import router as ops_router
from easel_gateway.sdapi.catalogue import router as catalogue_router
from easel_gateway.sdapi.extras import router as extras_router
from easel_gateway.sdapi.files import router as files_router
from easel_gateway.sdapi.interrupt import InterruptRequest
from easel_gateway.sdapi.interrupt import router as interrupt_router
from easel_gateway.sdapi.names import router as names_router
from easel_gateway.sdapi.options import router as options_router
from easel_gateway.sdapi.png_info import PngInfoRequest
from easel_gateway.sdapi.png_info import router as png_info_router
from easel_gateway.sdapi.progress import router as progress_router
from easel_gateway.sdapi.service import router as service_router
from easel_gateway.sdapi.txt2img import router as txt2img_router
from easel_gateway.settings import GatewaySettings
from easel_gateway.tasks.routes import router as tasks_router
from easel_gateway.webui.routes import router as webui_router
from easel_queue import AsyncQueue, EventHub
from easel_store import claims_store, configured_store

_log = logging.getLogger(__name__)

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
"""Where Redis is looked for when EASEL_REDIS_URL is not set and nobody started a private one."""


def create_app(settings: GatewaySettings) -> FastAPI:
    """The ASGI application. Connections are opened when its lifespan begins; the queue may be away then."""
    metrics = Metrics()
    app = FastAPIOffline(  # FastAPI whose /docs brings its scripts along: no CDN on a closed network
        redoc_url=None,
        static_url="/docs-assets",
        title="Easel",
        summary="Self-hosted Stable Diffusion: A1111's API and EAS queues",
        exception_handlers={HTTPException: refuse_route},
        redirect_slashes=False,  # the SDKs repeat a redirected POST, which would store it twice
        lifespan=_lifespan(settings, metrics),
        middleware=[  # the first is the outermost
            Middleware(RequestIdMiddleware),
            Middleware(MeasureMiddleware, metrics=metrics),
            *_origins(settings),
            Middleware(CompressMiddleware),
            Middleware(ErrorBoundary),
            Middleware(
                GuardsMiddleware,
                guards=(
                    BareAddress(settings.service),
                    CrossSite(settings.cors_origins, settings.cors_origins_regex),
                    Auth(settings.named_tokens(), settings.public_paths, settings.passwords()),
                    SyncAddress(settings.service),
                ),
            ),
            Middleware(
                ReceivingMiddleware,
                max_body_bytes=settings.max_body_bytes,
                max_bodies_bytes=settings.max_bodies_bytes,
            ),
            Middleware(ShortRoutesMiddleware, routes=(*eas_router.routes, *txt2img_router.routes)),
        ],
    )
    for router in (  # the busiest first: a request asks one after the other whether it is theirs
        eas_router,
        txt2img_router,
        progress_router,
        internal_router,
        interrupt_router,
        extras_router,
        png_info_router,
        options_router,
        catalogue_router,
        files_router,
        names_router,
        service_router,
        control_calls_router,
        control_lists_router,
        tasks_router,
        scheduler_queue_router,
        scheduler_task_router,
        transfer_router,
        dead_router,
        ops_router,
        webui_router,
    ):
        app.include_router(router)
    describe(
        app,
        Txt2ImgRequest,
        Img2ImgRequest,
        ExtrasSingleRequest,
        ExtrasBatchRequest,
        InterrogateRequest,
        DetectRequest,
        Pose,
        PngInfoRequest,
        RequeueMany,
        InterruptRequest,
        TaskProgressRequest,
        TaskChange,
        ImportRequest,
    )
    return app


def _origins(settings: GatewaySettings) -> list[Middleware]:
    """CORS, where the operator wants any: outside the error boundary, so that refusals can be read too."""
    if not settings.cors_origins and not settings.cors_origins_regex:
        return []
    return [Middleware(OriginsMiddleware, origins=settings.cors_origins, regex=settings.cors_origins_regex)]


def _lifespan(settings: GatewaySettings, metrics: Metrics) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        url = settings.redis_url.get_secret_value() if settings.redis_url else DEFAULT_REDIS_URL
        queue = AsyncQueue(
            url,
            service=settings.service,
            wait_replicas=settings.redis_wait_replicas,
            wait_ms=settings.redis_wait_ms,
        )
        hub = EventHub(queue)
        depot = Depot(claims_store(settings), service=settings.service, threshold=settings.queue_claim_bytes)
        claims = AsyncClaims(depot, queue)
        options = OptionsFollower(queue, hub)
        duties = (
            options,
            Reaper(
                queue,
                name=f"reaper@{socket.gethostname()}:{os.getpid()}",
                interval_s=settings.reap_interval_s,
                max_delivery=settings.max_delivery,
                max_idle_s=settings.max_idle,
                rear=settings.dead_message_policy == "Rear",
            ),
            Sweeper(queue, interval_s=settings.reap_interval_s, refresh_s=settings.watcher_ttl_s / REFRESHES),
            ClaimSweeper(claims, interval_s=settings.reap_interval_s, grace_s=settings.claim_grace_s),
        )
        pictures = configured_store(settings)
        store = StoreProbe(pictures)
        library = Library(settings.checkpoint_dir, hashes=settings.hash_file)
        files = open_catalogue(settings.data_dir, library.hashes, allow_pickle=settings.allow_pickle)
        app.state.gateway = Gateway(
            settings, queue, hub, store, pictures, claims, metrics, library, options, files
        )
        await hub.start()
        for duty in duties:
            duty.start()
        try:
            yield
        finally:
            app.state.gateway.closing.set()
            for duty in duties:
                await duty.stop()
            await hub.stop()
            await claims.close()
            await queue.close()

    return lifespan
