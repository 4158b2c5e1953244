"""The loops of one server process, room by room: each wakes by its topic and sweeps at its tick."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

from app import edge
from app.catalog import TOPIC as CATALOG
from app.complaints.actions import Reminder
from app.context import Context
from app.conversations import announcing, closing, confirming, follow_ups, limits, pausing, recovering, returning
from app.db import Database, settings_of
from app.delivery import accounts, orphans
from app.delivery.health import Health
from app.delivery.hooks import Hooks
from app.delivery.sender import Sender
from app.delivery.webhooks import loops as webhook_loops
from app.desk import snapshot
from app.feedback import outcomes, recovery
from app.intake import early_changes, form_marks, mail_calls
from app.intake.imap import Mailboxes
from app.intake.imap_turns import TOPIC as MAILBOXES
from app.intake.media import TOPIC as MEDIA
from app.intake.media import Fetcher
from app.intake.profiles import TOPIC as PROFILES
from app.intake.profiles import Profiles
from app.intake.pulling import TOPIC as PULL
from app.intake.pulling import Puller
from app.routing import counts, endings, offers, patience, presence
from app.routing.dispatcher import Dispatcher
from app.routing.escalation import Escalations
from app.sla import actions, arming, attainment
from app.sla.watcher import Watcher


class Drained(Protocol):
    """What has work in flight when a process ends."""

    async def drain(self, within_s: float) -> None: ...


def add(context: Context) -> list[Drained]:
    """All of them; returns those to drain at the end."""
    _add_desk(context)
    _add_routing(context)
    _add_clocks(context)
    _add_endings(context)
    return [*_add_intake(context), *_add_delivery(context)]


def _add_desk(context: Context) -> None:
    database, wakeups, background = context.database, context.wakeups, context.background
    background.add("tail", context.hub.tail.step, wakeups.subscribe("events"), tick_s=1)
    background.add("counts", counts.Folder(database).step, wakeups.subscribe(counts.TOPIC), tick_s=30)
    background.add("viewers", partial(snapshot.refresh_viewers, context), wakeups.subscribe(CATALOG), tick_s=60)
    background.add("housekeeping", partial(_housekeeping, database), asyncio.Event(), tick_s=3_600)


def _add_routing(context: Context) -> None:
    database, settings = context.database, context.settings
    wakeups, background = context.wakeups, context.background
    dispatcher = Dispatcher(database, context.catalog, settings)
    waiting = patience.Patience(database, context.catalog, again_s=settings.offer_again_s)
    expire = partial(
        endings.expire_due, database, again_s=settings.offer_again_s, misses_until_away=settings.misses_until_away
    )
    renew = partial(presence.renew, database, context.process, lease_s=settings.session_lease_s)
    reap = partial(presence.reap, database, context.catalog, settings)
    background.add("dispatcher", dispatcher.step, wakeups.subscribe("dispatch"), tick_s=30)
    background.add("patience", waiting.step, wakeups.subscribe(patience.TOPIC), tick_s=patience.SWEEP_S)
    background.add("offer-expiry", expire, wakeups.subscribe(offers.TOPIC), tick_s=30)
    background.add("presence-renewal", renew, asyncio.Event(), tick_s=settings.session_lease_s / 3)
    background.add("presence-reaper", reap, wakeups.subscribe(presence.TOPIC), tick_s=15)
    background.add("snooze", pausing.Waker(database).step, wakeups.subscribe("snooze"), tick_s=60)


def _add_clocks(context: Context) -> None:
    database, wakeups, background = context.database, context.wakeups, context.background
    escalations = Escalations(database, context.catalog)
    background.add("sla-watcher", Watcher(database).step, wakeups.subscribe("sla"), tick_s=30)
    background.add("sla-actions", escalations.step, wakeups.subscribe(actions.TOPIC), tick_s=30)
    background.add("sla-attainment", attainment.Folder(database).step, asyncio.Event(), tick_s=15)
    background.add("calendar-edits", arming.CalendarEdits(database).step, wakeups.subscribe(arming.TOPIC), tick_s=60)
    background.add("limits", limits.Applier(database).step, wakeups.subscribe(limits.TOPIC), tick_s=60)


def _add_endings(context: Context) -> None:
    """After a matter was resolved, and what the customer is told meanwhile."""
    database, wakeups, background = context.database, context.wakeups, context.background
    confirmer = confirming.Confirmer(database, link=context.feedback_link)
    background.add("confirmations", confirmer.step, wakeups.subscribe(closing.TOPIC), tick_s=60)
    background.add("recoveries", recovering.Overdue(database).step, wakeups.subscribe(recovery.TOPIC), tick_s=60)
    background.add("follow-ups", returning.Returning(database).step, wakeups.subscribe(follow_ups.TOPIC), tick_s=60)
    background.add("corrective-actions", Reminder(database).step, asyncio.Event(), tick_s=600)
    background.add("outcomes", outcomes.Folder(database).step, asyncio.Event(), tick_s=15)
    if context.settings.announcements:
        announcer = announcing.Announcer(database, context.catalog, link=context.progress_link)
        background.add("announcements", announcer.step, wakeups.subscribe("events", CATALOG), tick_s=5)


def _add_intake(context: Context) -> list[Drained]:
    database, settings = context.database, context.settings
    wakeups, background = context.wakeups, context.background
    media, rung, asked = wakeups.subscribe(MEDIA), wakeups.subscribe(PULL), wakeups.subscribe(PROFILES)
    found = wakeups.subscribe(MAILBOXES, CATALOG)
    fetcher = Fetcher(database, context.catalog, settings, context.http, context.files, poke=media.set)
    puller = Puller(database, context.catalog, context.intake, context.http, poke=rung.set)
    mailboxes = Mailboxes(database, context.catalog, context.intake, settings, poke=found)
    profiles = Profiles(database, context.catalog, settings, context.http, context.intake.wanted)
    context.intake.wanted.poke = asked.set
    background.add("fetcher", fetcher.step, media, tick_s=30)
    background.add("puller", puller.step, rung, tick_s=30)
    background.add("mailboxes", mailboxes.step, found, tick_s=30)
    background.add("profiles", profiles.step, asked, tick_s=30)
    early = wakeups.subscribe(early_changes.TOPIC)
    background.add("early-changes", partial(early_changes.step, database), early, tick_s=early_changes.SWEEP_S)
    return [fetcher, puller, mailboxes]


def _add_delivery(context: Context) -> list[Drained]:
    database, settings = context.database, context.settings
    wakeups, background = context.wakeups, context.background
    outbox, called = wakeups.subscribe("outbox"), wakeups.subscribe(actions.TOPIC)
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
    health = Health(database, context.catalog, settings, context.http)
    hooks = Hooks(database, context.vault, settings, poke=called.set)
    background.add("sender", sender.step, outbox, tick_s=30)
    background.add("accounts", health.step, wakeups.subscribe(accounts.TOPIC), tick_s=30)
    background.add("sla-webhooks", hooks.step, called, tick_s=30)
    return [sender, hooks, webhook_loops.add_loops(background, wakeups, database, context.vault, settings)]


async def _housekeeping(database: Database) -> None:
    """What is no longer needed goes."""
    async with database.begin() as session:
        await edge.forget_keys(session)
        await mail_calls.forget(session)
        await orphans.expire(session, after_s=settings_of(session).orphan_status_s)
        await early_changes.expire(session, after_s=settings_of(session).orphan_status_s)
        await form_marks.forget(session)
        await announcing.forget(session)
