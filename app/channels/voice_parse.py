"""A form of Twilio's Programmable Voice, read: how a call stands, its recording, its transcript. channels.md 2.1."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from app.channels import voice_numbers
from app.channels.base import CallUpdate, Parsed, RemoteFile, Sender, StatusUpdate
from app.channels.meta import Found
from app.channels.text import TEXT_LIMIT, clean, key, word

Form = Mapping[str, str]
Query = Mapping[str, str]

STEP, OURS, PARENT = "step", "rt_call", "call"
"""Parts of our own addresses: which callback this is, our message for a call that we placed, the call that a leg is of."""
WAIT, DIALLED, LEG, STATUS, VOICEMAIL = "wait", "dialled", "leg", "status", "voicemail"
RECORDING, TRANSCRIPTION = "recording", "transcription"

_RINGING = frozenset(("queued", "initiated", "ringing"))
_ENDED = frozenset(("completed", "busy", "failed", "no-answer", "canceled"))
_TALKED = frozenset(("completed", "answered"))
_KEPT = {
    "ForwardedFrom": "forwarded_from",
    "StirVerstat": "verified",
    "FromCountry": "country",
    "FromCity": "city",
    "AnsweredBy": "answered_by",
}


def parse(form: Form, query: Query, *, country: str | None, detects: bool = False) -> Parsed:
    """`detects`: who picks up is only known to be a person once Twilio has listened to them, which it tells apart."""
    found = Found()
    with found.item("call"):
        _read(form, query, country, found, detects=detects)
    return found.parsed()


def sid_of(form: Form, query: Query) -> str | None:
    """The call that a form is about: of a leg, the call that it is a leg of."""
    leg = key(query.get(PARENT)) or key(form.get("ParentCallSid"))
    return leg or key(form.get("CallSid"))


def _read(form: Form, query: Query, country: str | None, found: Found, *, detects: bool) -> None:
    sid, step = sid_of(form, query), query.get(STEP, "")
    if sid is None:
        if form.get("MessageSid"):
            found.ignore("a message: give the number's SMS to a channel of its own")
        else:
            found.errors.append("call: CallSid is missing")
        return
    if form.get("TranscriptionSid") or step == TRANSCRIPTION:
        _transcription(form, query, sid, found)
    elif form.get("RecordingUrl") or form.get("RecordingStatus") or step == RECORDING:
        _recording(form, query, sid, country, found)
    elif step == DIALLED:
        _dialled(form, query, sid, found)
    elif step == LEG or _is_leg(form):
        _leg(form, query, sid, found, detects=detects)
    else:
        _call(form, query, sid, country, found)


def _is_leg(form: Form) -> bool:
    return bool(form.get("ParentCallSid")) or form.get("Direction") == "outbound-dial"


def _call(form: Form, query: Query, sid: str, country: str | None, found: Found) -> None:
    """The call itself. Of one that we placed, this is the agent's telephone."""
    status, ours = form.get("CallStatus", "").strip().lower(), key(query.get(OURS))
    outbound, state, cause = is_outbound(form, query), None, None
    if status in _RINGING:
        state = "ringing"
    elif status == "in-progress":
        state = "answered" if outbound and ours is None and not is_machine(form) else None
    elif status in _ENDED:
        state = "ended"
        cause = status if ours is None or status == "completed" else f"agent: {status}"
    else:
        found.ignore("call status", clean(status, 50))
        return
    if ours is not None:
        # Twilio has it, whatever became of its answer to us.
        found.statuses.append(StatusUpdate(provider_message_id=sid, status="sent", our_id=ours))
    found.calls.append(
        CallUpdate(
            key=_key(sid, query.get(STEP) if ours else "call", status, form.get("SequenceNumber")),
            sender=_customer(form, sid, country, outbound=outbound) if ours is None else None,
            state=state,
            cause=cause,
            duration_s=_number(form.get("CallDuration")),
            digits=None,
            caller=word(form.get("From")) if ours is None else None,
            callee=word(form.get("To")) if ours is None else None,
            **_common(form, query, sid),
        )
    )


def _leg(form: Form, query: Query, sid: str, found: Found, *, detects: bool) -> None:
    """The telephone that a `<Dial>` rings: the agent's; the customer's where we placed the call."""
    status = form.get("CallStatus", "").strip().lower()
    listened = bool(form.get("AnsweredBy"))
    if status not in (*_RINGING, *_ENDED, "in-progress") and (status or not listened):
        found.ignore("leg status", clean(status, 50))
        return
    heard = listened or not detects or form.get("To", "").lower().startswith(("sip:", "sips:", "client:"))
    answered = status in ("in-progress", "") and heard and not is_machine(form)
    outbound = is_outbound(form, query)
    failed = status in _ENDED and status != "completed"
    found.calls.append(
        CallUpdate(
            key=_key(sid, LEG, form.get("CallSid"), status, form.get("AnsweredBy")),
            sender=None,
            state="answered" if answered else None,
            cause=status if failed and outbound else None,
            **_common(form, query, sid),
        )
    )


def _dialled(form: Form, query: Query, sid: str, found: Found) -> None:
    """What came of a `<Dial>`: told to the call, after the leg has ended."""
    status = form.get("DialCallStatus", "").strip().lower()
    talked = _number(form.get("DialCallDuration"))
    failed = status not in _TALKED
    outbound = is_outbound(form, query)
    if status not in (*_TALKED, *_ENDED):
        found.ignore("dial status", clean(status, 50))
        return
    found.calls.append(
        CallUpdate(
            key=_key(sid, DIALLED, form.get("DialCallSid"), status),
            sender=None,
            talk_s=None if failed or is_machine(form) else talked,
            cause=status if failed and outbound else None,
            unanswered=status if failed and not outbound else None,
            **_common(form, query, sid),
        )
    )


def _recording(form: Form, query: Query, sid: str, country: str | None, found: Found) -> None:
    """The callback about a recording, or the action of `<Record>`, which is the end of a voicemail."""
    url, status = form.get("RecordingUrl", ""), form.get("RecordingStatus", "completed").strip().lower()
    if status == "in-progress":
        found.ignore("recording", status)
        return
    recording_id = key(form.get("RecordingSid")) or key(urlsplit(url).path.rpartition("/")[2])
    heard = status == "completed" and recording_id is not None and url.startswith(("https://", "http://"))
    step = query.get(STEP, "")
    verb = form.get("RecordingSource") == "RecordVerb" or (
        not form.get("RecordingSource") and step not in (RECORDING, DIALLED)
    )
    seconds = _number(form.get("RecordingDuration"))
    outbound = is_outbound(form, query)
    talked = _number(form.get("DialCallDuration")) if step == DIALLED else None
    found.calls.append(
        CallUpdate(
            key=_key(sid, step or RECORDING, recording_id, status),
            # The callback names nobody, the action does.
            sender=_customer(form, sid, country, outbound=outbound)
            if form.get("From") and not query.get(OURS)
            else None,
            state="voicemail" if heard and verb else None,
            talk_s=talked,
            recording=_file(url, recording_id, seconds) if heard and recording_id else None,
            digits=None if verb else word(form.get("Digits")),
            **{**_common(form, query, sid), "content": {} if heard else {"recording_failed": clean(status, 50)}},
        )
    )


def _file(url: str, recording_id: str, seconds: float | None) -> RemoteFile:
    ref: dict[str, Any] = {"id": recording_id, "url": clean(url, 2_000), "duration_s": seconds}
    return RemoteFile(name=f"{recording_id[:80]}.mp3", media_type="audio/mpeg", size=None, ref=ref)


def _transcription(form: Form, query: Query, sid: str, found: Found) -> None:
    status = form.get("TranscriptionStatus", "").strip().lower()
    text = clean(form.get("TranscriptionText", ""), TEXT_LIMIT).strip()
    good = status == "completed" and bool(text)
    common = _common(form, query, sid)
    found.calls.append(
        CallUpdate(
            key=_key(sid, TRANSCRIPTION, form.get("TranscriptionSid"), status),
            sender=None,
            transcript=text if good else None,
            **{**common, "content": {} if good else {"transcription": clean(status or "empty", 50)}},
        )
    )


def _common(form: Form, query: Query, sid: str) -> dict[str, Any]:
    kept = {name: value for field, name in _KEPT.items() if (value := word(form.get(field)))}
    order = _number(form.get("SequenceNumber"))
    return {
        "call_id": sid,
        "direction": "outbound" if is_outbound(form, query) else "inbound",
        "at": _moment(form.get("Timestamp")),
        "order": int(order) if order is not None else None,
        "our_id": key(query.get(OURS)),
        "content": kept,
    }


def is_outbound(form: Form, query: Query) -> bool:
    """We called the customer. A leg of a call that came in goes out, and is no call of ours."""
    if query.get(OURS):
        return True
    return form.get("Direction", "").startswith("outbound") and not _is_leg(form) and query.get(STEP) != LEG


def is_machine(form: Form) -> bool:
    return form.get("AnsweredBy", "").lower().startswith(("machine", "fax"))


def _customer(form: Form, sid: str, country: str | None, *, outbound: bool) -> Sender:
    raw = form.get("To") or form.get("Called") if outbound else form.get("From") or form.get("Caller")
    name = None if outbound else word(form.get("CallerName"))
    return voice_numbers.party(raw, call_id=sid, country=country, name=name)


def _key(*parts: object) -> str:
    return key(":".join(str(part or "") for part in parts)) or ""


def _number(given: str | None) -> float | None:
    text = (given or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 7 else None


def _moment(given: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(given or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
