"""The composition root: build the application, start the loops, mount the edges."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from functools import partial

import httpx
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import __version__, edge, keys, log, migrate, problems
from app.background import Background
from app.catalog import TOPIC as CATALOG
from app.catalog import CatalogCache
from app.channels.registry import FAULTS
from app.complaints.actions import Reminder
from app.context import Context
from app.conversations import announcing, closing, confirming, follow_ups, limits, pausing, recovering, returning
from app.db import Database, settings_of
from app.delivery import accounts, orphans
from app.delivery.guard import GuardedTransport
from app.delivery.health import Health
from app.delivery.hooks import Hooks
from app.delivery.sender import Sender
from app.delivery.webhooks import loops as webhook_loops
from app.delivery.webhooks.deliverer import Deliverer
from app.desk import endpoints, live, snapshot
from app.desk.endpoints import webhook_payloads
from app.events.hub import Hub
from app.feedback import outcomes, recovery
from app.intake import early_changes, form_marks, mail_calls, webhooks, widget
from app.intake.forms import Forms
from app.intake.imap import Mailboxes
from app.intake.imap_turns import TOPIC as MAILBOXES
from app.intake.ingest import Intake
from app.intake.limits import widget_limits
from app.intake.mailbox import Mailbox
from app.intake.media import TOPIC as MEDIA
from app.intake.media import Fetcher
from app.intake.page_messages import PageMessages
from app.intake.profiles import TOPIC as PROFILES
from app.intake.profiles import Profiles
from app.intake.pulling import TOPIC as PULL
from app.intake.pulling import Puller
from app.intake.store import FileStore
from app.intake.walk_ins import WalkIns
from app.routing import counts, endings, offers, patience, presence
from app.routing.dispatcher import Dispatcher
from app.routing.escalation import Escalations
from app.settings import Settings, networks
from app.sla import actions, arming, attainment
from app.sla.watcher import Watcher
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


def add_loops(context: Context) -> tuple[Sender, Fetcher, Hooks, Puller, Mailboxes, Deliverer]:
    """The loops of one process: each wakes by its topic and sweeps at its tick. Returns those to drain at the end."""
    database, settings = context.database, context.settings
    wakeups, background = context.wakeups, context.background
    outbox = wakeups.subscribe("outbox")
    sender = Sender(
        database,
        context.catalog,
        context.vault,
        settings,
        context.http,
        store_read=lambda sha256: context.files.open_path(sha256).read_bytes(),
        link=context.media_link,
        poke=outbox.set,
    )
    media = wakeups.subscribe(MEDIA)
    fetcher = Fetcher(database, context.catalog, settings, context.http, context.files, poke=media.set)
    rung = wakeups.subscribe(PULL)
    puller = Puller(database, context.catalog, context.intake, context.http, poke=rung.set)
    asked = wakeups.subscribe(PROFILES)
    context.intake.wanted.poke = asked.set
    profiles = Profiles(database, context.catalog, settings, context.http, context.intake.wanted)
    found = wakeups.subscribe(MAILBOXES, CATALOG)
    mailboxes = Mailboxes(database, context.catalog, context.intake, settings, poke=found)
    called = wakeups.subscribe(actions.TOPIC)
    health = Health(database, context.catalog, settings, context.http)
    hooks = Hooks(database, context.vault, settings, poke=called.set)
    escalations = Escalations(database, context.catalog)
    dispatcher = Dispatcher(database, context.catalog, settings)
    waiting = patience.Patience(database, context.catalog, again_s=settings.offer_again_s)
    expire = partial(
        endings.expire_due,
        database,
        again_s=settings.offer_again_s,
        misses_until_away=settings.misses_until_away,
    )
    renew = partial(presence.renew, database, context.process, lease_s=settings.session_lease_s)
    reap = partial(presence.reap, database, context.catalog, settings)

    background.add("tail", context.hub.tail.step, wakeups.subscribe("events"), tick_s=1)
    background.add("dispatcher", dispatcher.step, wakeups.subscribe("dispatch"), tick_s=30)
    background.add("patience", waiting.step, wakeups.subscribe(patience.TOPIC), tick_s=patience.SWEEP_S)
    background.add("offer-expiry", expire, wakeups.subscribe(offers.TOPIC), tick_s=30)
    background.add("presence-renewal", renew, asyncio.Event(), tick_s=settings.session_lease_s / 3)
    background.add("presence-reaper", reap, wakeups.subscribe(presence.TOPIC), tick_s=15)
    background.add("sender", sender.step, outbox, tick_s=30)
    background.add("accounts", health.step, wakeups.subscribe(accounts.TOPIC), tick_s=30)
    background.add("fetcher", fetcher.step, media, tick_s=30)
    background.add("puller", puller.step, rung, tick_s=30)
    early = wakeups.subscribe(early_changes.TOPIC)
    background.add("early-changes", partial(early_changes.step, database), early, tick_s=early_changes.SWEEP_S)
    background.add("profiles", profiles.step, asked, tick_s=30)
    background.add("mailboxes", mailboxes.step, found, tick_s=30)
    background.add("sla-watcher", Watcher(database).step, wakeups.subscribe("sla"), tick_s=30)
    background.add("sla-actions", escalations.step, wakeups.subscribe(actions.TOPIC), tick_s=30)
    background.add("sla-webhooks", hooks.step, called, tick_s=30)
    background.add("sla-attainment", attainment.Folder(database).step, asyncio.Event(), tick_s=15)
    background.add("outcomes", outcomes.Folder(database).step, asyncio.Event(), tick_s=15)
    background.add("calendar-edits", arming.CalendarEdits(database).step, wakeups.subscribe(arming.TOPIC), tick_s=60)
    background.add("limits", limits.Applier(database).step, wakeups.subscribe(limits.TOPIC), tick_s=60)
    confirmer = confirming.Confirmer(database, link=context.feedback_link)
    background.add("confirmations", confirmer.step, wakeups.subscribe(closing.TOPIC), tick_s=60)
    background.add("recoveries", recovering.Overdue(database).step, wakeups.subscribe(recovery.TOPIC), tick_s=60)
    background.add("follow-ups", returning.Returning(database).step, wakeups.subscribe(follow_ups.TOPIC), tick_s=60)
    if settings.announcements:
        announcer = announcing.Announcer(database, context.catalog, link=context.progress_link)
        background.add("announcements", announcer.step, wakeups.subscribe("events", CATALOG), tick_s=5)
    background.add("snooze", pausing.Waker(database).step, wakeups.subscribe("snooze"), tick_s=60)
    background.add("corrective-actions", Reminder(database).step, asyncio.Event(), tick_s=600)
    background.add("counts", counts.Folder(database).step, wakeups.subscribe(counts.TOPIC), tick_s=30)
    background.add("viewers", partial(snapshot.refresh_viewers, context), wakeups.subscribe(CATALOG), tick_s=60)
    background.add("housekeeping", partial(_housekeeping, database), asyncio.Event(), tick_s=3_600)
    outgoing = webhook_loops.add_loops(background, wakeups, database, context.vault, settings)
    return sender, fetcher, hooks, puller, mailboxes, outgoing


async def _housekeeping(database: Database) -> None:
    """What is no longer needed goes."""
    async with database.begin() as session:
        await edge.forget_keys(session)
        await mail_calls.forget(session)
        await orphans.expire(session, after_s=settings_of(session).orphan_status_s)
        await early_changes.expire(session, after_s=settings_of(session).orphan_status_s)
        await form_marks.forget(session)
        await announcing.forget(session)


def build(settings: Settings, *, smtp: socket.socket | None = None) -> FastAPI:
    """The ASGI application of one server process."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = await open_context(settings)
        drained = add_loops(context)
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


async def _stop(context: Context, drained: tuple[Sender, Fetcher, Hooks, Puller, Mailboxes, Deliverer]) -> None:
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
