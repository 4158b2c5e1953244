"""The composition root: build the application, start the loops, mount the edges."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import httpx
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import __version__, keys, log, loops, migrate, problems
from app.background import Background
from app.catalog import CatalogCache
from app.channels.registry import FAULTS
from app.context import Context
from app.db import Database
from app.delivery.guard import GuardedTransport
from app.desk import endpoints, live
from app.desk.endpoints import webhook_payloads
from app.events.hub import Hub
from app.intake import webhooks, widget
from app.intake.forms import Forms
from app.intake.ingest import Intake
from app.intake.limits import widget_limits
from app.intake.mailbox import Mailbox
from app.intake.page_messages import PageMessages
from app.intake.store import FileStore
from app.intake.walk_ins import WalkIns
from app.loops import Drained
from app.settings import Settings, networks
from app.socket_frames import CLOSE_RESTART, frame
from app.wakeups import Wakeups
from app.web import form_page, media_link, pages

DRAIN_S = 10
PATIENCE_S = 3
_logger = log.get("main")


async def open_context(settings: Settings) -> Context:
    """Everything a process shares, connected. The caller closes it with `close_context`."""
    for fault in FAULTS:
        _logger.error("channel type left out", name=fault.name, package=fault.package, why=fault.why)
    database, inner = Database(settings), Database(settings)
    vault = await keys.open_vault(database, settings)
    wakeups = Wakeups(database)
    catalog = CatalogCache(inner, vault, wakeups)
    files = FileStore(settings.attachments_dir, limit=settings.attachment_limit)
    context = Context(
        settings=settings,
        database=database,
        inner=inner,
        vault=vault,
        wakeups=wakeups,
        catalog=catalog,
        hub=Hub(database),
        files=files,
        intake=Intake(inner, catalog, vault, settings, files),
        http=outgoing_client(settings),
        background=Background(),
        limits=widget_limits(settings),
    )
    context.forms = Forms(context, form_page.Pages())
    context.walk_ins = WalkIns(context)
    context.page_messages = PageMessages(context)
    return context


def outgoing_client(settings: Settings) -> httpx.AsyncClient:
    """Calls the addresses that are in the channels' configurations: an administrator's word, believed unless the operator
    says otherwise (docs/decisions/0016)."""
    guard = None
    if not settings.channel_private:
        hint = "ROUNDTRIP_CHANNEL_PRIVATE=true allows such addresses"
        guard = GuardedTransport(private=False, allowed=networks(settings.fetch_networks), hint=hint)
    return httpx.AsyncClient(transport=guard, follow_redirects=False, timeout=settings.send_timeout_s)


def build(settings: Settings, *, smtp: socket.socket | None = None) -> FastAPI:
    """The ASGI application of one server process."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = await open_context(settings)
        drained = loops.add(context)
        app.state.context = context
        await context.wakeups.start()
        context.wakeups.on_ephemeral(context.hub.tell)
        await context.catalog.current()
        await context.hub.tail.start()
        context.intake.start()
        context.background.start()
        mailbox = Mailbox(settings, context.catalog, context.intake)
        if smtp is not None:
            await mailbox.start(sock=smtp)
        _logger.info("serving", url=settings.base_url, process=context.process, version=__version__)
        try:
            yield
        finally:
            await mailbox.stop()
            await _stop(context, drained)
            _logger.info("stopped", process=context.process)

    app = FastAPI(
        title="Roundtrip",
        version=__version__,
        description="Omnichannel customer-service backend in which every message comes back answered.",
        lifespan=lifespan,
        redirect_slashes=False,  # such a redirect would lead to whatever host the caller has named
    )
    problems.install(app)
    _add_probes(app)
    for router in (webhooks.router, live.router, widget.router, endpoints.router()):
        app.include_router(router)  # looked through in this order: the hot paths first
    app.webhooks.include_router(webhook_payloads.router())
    app.include_router(media_link.router)
    pages.mount(app)
    return app


async def drain(context: Context) -> None:
    """Tell every socket to reconnect elsewhere, then close them, each once the command in hand is answered; called when
    SIGTERM has come."""
    context.draining = True
    peers = list(context.hub.peers)
    context.hub.tell_everyone(frame(type="draining", reconnect_in_s=1))
    closing = (peer.close(CLOSE_RESTART, "restarting", patience_s=PATIENCE_S) for peer in peers)
    await asyncio.gather(*closing, return_exceptions=True)


async def _stop(context: Context, drained: Sequence[Drained]) -> None:
    """Finish what is in hand: queued intake, steps of loops, sends and fetches in flight."""
    await context.intake.stop()
    await context.background.stop(within_s=DRAIN_S / 2)
    await asyncio.gather(*(one.drain(within_s=DRAIN_S / 2) for one in drained))
    await context.hub.tail.stop()
    await context.wakeups.stop()
    await context.http.aclose()
    await context.database.close()
    await context.inner.close()


def _add_probes(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def here() -> dict[str, str]:
        """Where to go from here."""
        return {
            "service": "roundtrip",
            "version": __version__,
            "console": "/console",
            "api": "/docs",
            "ready": "/readyz",
        }

    @app.get("/healthz", tags=["operations"])
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"])
    async def readyz(response: Response) -> dict[str, object]:
        """Database, migrations and loops; 503 names what is not ready."""
        context: Context = app.state.context
        checks = await _checks(context)
        ready = all(value == "ok" for value in checks.values())
        response.status_code = 200 if ready else 503
        return {"status": "ready" if ready else "not ready", "checks": checks}

    @app.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        """Prometheus text format, of this process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _checks(context: Context) -> dict[str, str]:
    checks = {"draining": "draining" if context.draining else "ok"}
    try:
        async with asyncio.timeout(3), context.database.engine.connect() as connection:
            revision = await connection.run_sync(migrate.revision_of)
        checks["database"] = "ok"
        checks["migrations"] = "ok" if revision == migrate.head() else f"at {revision}, need {migrate.head()}"
    except Exception as error:
        checks["database"] = type(error).__name__
    unhealthy = context.background.unhealthy
    checks["loops"] = f"not healthy: {', '.join(unhealthy)}" if unhealthy else "ok"
    return checks
