"""Slack's events, read. A thread is the customer: who answers in it answers everybody in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.channels import receipts, slack_text
from app.channels.base import Change, ChangeKind, InboundMessage, Parsed, RemoteFile, Sender, StatusUpdate
from app.channels.meta import BadItem, Found, Json, moment, obj, sequence
from app.channels.text import clean, file_name, key, media_type, scrub, word

METADATA = "roundtrip_message"
_WRITTEN = frozenset((None, "file_share", "thread_broadcast", "me_message"))
_FILES_LIMIT = 30


@dataclass(frozen=True, slots=True)
class Envelope:
    """Around the event: the workspace in which we live, and who we are there."""

    team: str
    bots: frozenset[str]


def parse(body: Json) -> Parsed:
    found = Found()
    kind = word(body.get("type"), 50) or "without a type"
    if kind == "block_actions":
        with found.item(kind):
            _pressed(body, found)
        return found.parsed()
    if kind != "event_callback":
        found.ignore(kind)
        return found.parsed()
    event = obj(body.get("event"))
    name = word(event.get("type"), 50) or "without a type"
    read = _KINDS.get(name)
    with found.item(name):
        if read is None:
            found.ignore("event", name)
        else:
            read(_envelope(body), event, found)
    return found.parsed()


def _envelope(body: Json) -> Envelope:
    """In a channel shared by two workspaces the event names the author's; ours is the same for the whole thread."""
    ours = [obj(item) for item in sequence(body.get("authorizations"))]
    team = key(body.get("team_id"))
    if body.get("is_ext_shared_channel") is True and ours:
        team = key(ours[0].get("team_id")) or team
    bots = frozenset(user for item in ours if item.get("is_bot") is True and (user := key(item.get("user_id"))))
    return Envelope(team or key(body.get("enterprise_id")) or "", bots)


def _sender(around: Envelope, channel: str, event: Json, message: Json, root: str | None) -> Sender:
    """The thread (team, channel, first message); a direct conversation is one thread from its beginning to its end."""
    user, profile = key(message.get("user")), obj(message.get("user_profile"))
    direct = event.get("channel_type") == "im" or channel.startswith("D")
    thread = None if direct else root
    address = {"team": around.team, "channel": channel, "thread_ts": thread, "user": user}
    names = (profile.get(field) for field in ("display_name", "real_name", "name"))
    return Sender(
        kind="slack",
        value=_id(*(part for part in (around.team, channel, thread) if part)),
        name=next((name for given in names if (name := word(given))), None),
        address={name: value for name, value in address.items() if value},
    )


def _id(*parts: str) -> str:
    return key(":".join(parts)) or ""


def _root(message: Json, ts: str) -> str:
    return key(message.get("thread_ts")) or ts


def _is_bots(around: Envelope, message: Json) -> bool:
    by_app = bool(message.get("bot_id") or message.get("bot_profile")) or message.get("subtype") == "bot_message"
    return by_app or key(message.get("user")) in (*around.bots, "USLACKBOT")


def _message(around: Envelope, event: Json, found: Found) -> None:
    subtype = event.get("subtype")
    if subtype in ("message_changed", "message_deleted"):
        (_changed if subtype == "message_changed" else _deleted)(around, event, found)
    elif _is_bots(around, event):
        _ours(event, found)
    elif subtype not in _WRITTEN:
        found.ignore("message", word(subtype, 50))
    else:
        _written(around, event, found)


def _pressed(body: Json, found: Found) -> None:
    """Buttons below a receipt of ours; other apps of the workspace have their own."""
    channel, user = key(obj(body.get("channel")).get("id")), obj(body.get("user"))
    message = obj(body.get("message"))
    ts, who = key(message.get("ts")), key(user.get("id"))
    actions = [obj(item) for item in sequence(body.get("actions"))[:_FILES_LIMIT]]
    ours = [(action, answer) for action in actions if (answer := receipts.pressed(action.get("value")))]
    if not ours:
        found.ignore("block_actions")
    for action, answer in ours:
        if channel is None or ts is None or who is None:
            raise BadItem("a press without channel, message or user")
        around = Envelope(key(obj(body.get("team")).get("id")) or key(user.get("team_id")) or "", frozenset())
        author = {"user": who, "user_profile": {"name": user.get("name") or user.get("username")}}
        at = key(action.get("action_ts"))
        found.messages.append(
            InboundMessage(
                external_id=_id("action", channel, ts, at or "", answer),
                sender=_sender(around, channel, {}, author, _root(message, ts)),
                text=word(obj(action.get("text")).get("text"), 200) or "[button]",
                sent_at=_time(at),
                content={"user": who, "thread_ts": _root(message, ts)},
                pressed=answer,
            )
        )


def _ours(event: Json, found: Found) -> None:
    """A bot is no customer. But our own message says by its metadata that it has arrived."""
    about = obj(event.get("metadata"))
    ours = key(obj(about.get("event_payload")).get("message_id"))
    channel, ts = key(event.get("channel")), key(event.get("ts"))
    if about.get("event_type") == METADATA and ours and channel and ts:
        found.statuses.append(StatusUpdate(_id(channel, ts), "sent", at=_time(ts), our_id=ours))
    else:
        found.ignore("message from a bot")


def _written(around: Envelope, event: Json, found: Found) -> None:
    channel, ts, user = key(event.get("channel")), key(event.get("ts")), key(event.get("user"))
    if channel is None or ts is None:
        raise BadItem("channel or ts is missing")
    if user is None:
        raise BadItem("nobody wrote it")
    given = event.get("text")
    text = slack_text.readable(given) if isinstance(given, str) else ""
    files, words = _files(sequence(event.get("files")))
    text = "\n".join(part for part in (text, *words) if part.strip())
    if not text and not files:
        found.ignore("message without content")
        return
    found.messages.append(
        InboundMessage(
            external_id=_id(channel, ts),
            sender=_sender(around, channel, event, event, _root(event, ts)),
            text=clean(text),
            sent_at=_time(ts),
            files=files,
            content=_content(event, user, ts),
        )
    )


def _content(event: Json, user: str, ts: str) -> dict[str, Any]:
    """For people only. Several may write in one thread: `user` says who did."""
    kept: dict[str, Any] = {"user": user}
    thread = key(event.get("thread_ts"))
    if thread is not None and thread != ts:
        kept["thread_ts"] = thread
    if "blocks" in event:
        kept["blocks"] = scrub(event["blocks"])
    return kept


def _files(given: Sequence[Any]) -> tuple[tuple[RemoteFile, ...], list[str]]:
    """Files that lie at Slack, and words for those that do not."""
    files: list[RemoteFile] = []
    words: list[str] = []
    for item in map(obj, given[:_FILES_LIMIT]):
        url = key(item.get("url_private_download")) or key(item.get("url_private"))
        file_id, mode = key(item.get("id")), item.get("mode")
        name = file_name(item.get("name") or item.get("title"), "file")
        if item.get("is_external") is True or mode == "external":
            words.append(f"[{name}] {word(item.get('external_url') or url, 2000) or ''}".strip())
        elif mode in ("tombstone", "hidden_by_limit") or (url is None and file_id is None):
            words.append(f"[{name}]")
        else:
            ref = {"file_id": file_id, "url": url}
            size = item.get("size")
            files.append(
                RemoteFile(
                    name,
                    media_type(item.get("mimetype")),
                    size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
                    {field: value for field, value in ref.items() if value},
                )
            )
    return tuple(files), words


def _changed(around: Envelope, event: Json, found: Found) -> None:
    """Slack calls it a change too when a preview appears, or a first answer; only people's edits count."""
    message, before = obj(event.get("message")), obj(event.get("previous_message"))
    channel, ts = key(event.get("channel")), key(message.get("ts")) or key(before.get("ts"))
    if channel is None or ts is None:
        raise BadItem("message_changed names no message")
    if _is_bots(around, message):
        found.ignore("message_changed of a bot")
        return
    if message.get("subtype") == "tombstone":
        _delete(around, event, before or message, ts, found)
        return
    edited, text = obj(message.get("edited")), message.get("text")
    if not edited or not isinstance(text, str) or edited == before.get("edited"):
        found.ignore("message_changed without an edit")
        return
    at = key(edited.get("ts")) or key(event.get("event_ts")) or ""
    found.changes.append(
        Change(
            key=_id("edit", channel, ts, at),
            kind=ChangeKind.EDIT,
            sender=_sender(around, channel, event, message, _root(message, ts)),
            external_id=_id(channel, ts),
            text=slack_text.readable(text),
            at=_time(at),
        )
    )


def _deleted(around: Envelope, event: Json, found: Found) -> None:
    before = obj(event.get("previous_message"))
    ts = key(event.get("deleted_ts")) or key(before.get("ts"))
    if ts is None:
        raise BadItem("message_deleted names no message")
    if _is_bots(around, before):
        found.ignore("message_deleted of a bot")
        return
    _delete(around, event, before, ts, found)


def _delete(around: Envelope, event: Json, message: Json, ts: str, found: Found) -> None:
    channel = key(event.get("channel"))
    if channel is None:
        raise BadItem("a deletion without a channel")
    found.changes.append(
        Change(
            key=_id("delete", channel, ts),
            kind=ChangeKind.DELETE,
            sender=_sender(around, channel, event, message, _root(message, ts)),
            external_id=_id(channel, ts),
            at=_time(key(event.get("event_ts")) or key(event.get("ts"))),
        )
    )


def _reaction(around: Envelope, event: Json, found: Found) -> None:
    """Slack does not say in which thread the message is: what counts is the message itself, theirs or ours."""
    item, user, name = obj(event.get("item")), key(event.get("user")), word(event.get("reaction"), 200)
    channel, ts = key(item.get("channel")), key(item.get("ts"))
    if item.get("type") not in (None, "message"):
        found.ignore("reaction to a", word(item.get("type"), 50))
        return
    if channel is None or ts is None or user is None or name is None:
        raise BadItem("a reaction without message, user or name")
    if user in around.bots:
        found.ignore("reaction of a bot")
        return
    taken_back, at = event.get("type") == "reaction_removed", key(event.get("event_ts"))
    found.changes.append(
        Change(
            key=_id(str(event["type"]), channel, ts, user, name, at or ""),
            kind=ChangeKind.REACTION,
            sender=_sender(around, channel, item, event, ts),
            external_id=_id(channel, ts),
            provider_message_id=_id(channel, ts),
            text=None if taken_back else slack_text.emoji(name),
            at=_time(at),
        )
    )


def _time(ts: str | None) -> datetime | None:
    """A ts is an id that begins with the second; it is never turned into a number to be kept."""
    whole, _, rest = (ts or "").partition(".")
    seconds = moment(whole) if whole.isdigit() and len(whole) <= 10 else None
    if seconds is None or not (rest.isascii() and rest.isdigit()):
        return seconds
    return seconds.replace(microsecond=int(rest[:6].ljust(6, "0")))


_KINDS: Mapping[str, Callable[[Envelope, Json, Found], None]] = {
    "message": _message,
    # The same message comes as `message` too where the app sees the channel; one id makes them one.
    "app_mention": _message,
    "reaction_added": _reaction,
    "reaction_removed": _reaction,
}
