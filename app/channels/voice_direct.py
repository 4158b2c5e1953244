"""What is done next with somebody on the line: decided from how their call stands, then written as TwiML or JSON. Pure.

A caller who waits is asked about again every few seconds: `<Play>` or `<Pause>`, then `<Redirect>` back to us. With
`<Enqueue>` Twilio would keep a second queue, and we would have to ring the agent by a call of our own that could get
lost; here the queue is ours alone, each answer is read from the rows as they are, and a restart costs nobody their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app.channels import voice_parse, voice_texts
from app.channels import voice_twiml as twiml
from app.channels.base import Call, Situation
from app.channels.voice_config import VoiceConfig

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Next:
    """`do` is `wait`, `connect` (to `to`), `voicemail`, `goodbye` or `hang_up`; `say` are texts by name, to be said first."""

    do: str
    say: tuple[str, ...] = ()
    position: int | None = None
    to: str | None = None


def decide(config: VoiceConfig, now: Situation | None, *, step: str = "", turn: int = 0, dialled: str = "") -> Next:
    """`turn` counts how often the caller has been asked about; `dialled` is what came of ringing an agent."""
    if step == voice_parse.VOICEMAIL:
        return Next("goodbye", ("kept",))
    if step == voice_parse.DIALLED and dialled in ("completed", "answered"):
        return Next("hang_up")
    if now is None:
        return Next("goodbye", ("trouble",)) if step else Next("wait", ("greeting",))
    first = ("greeting",) if not step else ()
    if now.stage in ("over", "talked"):
        return Next("hang_up") if step else Next("goodbye", ("goodbye",))
    if now.stage == "taken" and now.attempts < config.ring_attempts:
        if now.agent_phone is not None:
            return Next("connect", (*first, "connect"), to=now.agent_phone)
        return _nobody(config, first)
    if now.closed and config.when_closed != "queue":
        return _off(config.when_closed, (*first, "closed"))
    patience = min(config.max_wait_s, now.patience_s or config.max_wait_s)
    if now.waited_s >= patience or now.attempts >= config.ring_attempts:
        return _nobody(config, first)
    every = max(config.announce_every_s // config.poll_s, 1)
    told = ("position",) if now.position is not None else ("wait",)
    return Next("wait", (*first, *(told if turn % every == 0 else ())), position=now.position)


def _nobody(config: VoiceConfig, first: tuple[str, ...]) -> Next:
    return _off(config.when_nobody, (*first, "nobody"))


def _off(what: str, said: tuple[str, ...]) -> Next:
    return Next("voicemail", (*said, "voicemail")) if what == "voicemail" else Next("goodbye", (*said, "goodbye"))


def answer(config: VoiceConfig, call: Call, form: Form, now: Situation | None) -> bytes:
    """TwiML."""
    step, turn = call.query.get(voice_parse.STEP, ""), _count(call.query.get("n"))
    if not step and form.get("RecordingUrl"):
        step = voice_parse.VOICEMAIL
    what = decide(config, now, step=step, turn=turn, dialled=form.get("DialCallStatus", "").lower())
    url, sid = call.url.partition("?")[0], voice_parse.sid_of(form, call.query) or ""
    language = voice_texts.language(now.language if now else None, config.language, config.texts)
    said = [_say(config, name, language, position=what.position) for name in what.say]
    if what.do == "wait":
        return twiml.response(*said, *_wait(config, url, turn))
    if what.do == "connect":
        assert what.to is not None, "who is connected is connected to somebody"
        recorded = [_say(config, "recorded", language)] if config.record else []
        own = form.get("From", "") if form.get("From", "").startswith("+") else config.number
        return twiml.response(*said, *recorded, _dial(config, url, what.to, {voice_parse.PARENT: sid}, caller_id=own))
    if what.do == "voicemail":
        return twiml.response(*said, *_voicemail(config, url, _say(config, "goodbye", language)))
    return twiml.response(*said, twiml.verb("Hangup"))


def _count(given: str | None) -> int:
    text = given or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0


def _say(config: VoiceConfig, name: str, language: str, *, position: int | None = None) -> str:
    text = voice_texts.say(name, language, config.texts, position=position)
    return twiml.say(text, tag=voice_texts.TAGS.get(language, language), voice=config.voices.get(language))


def _wait(config: VoiceConfig, url: str, turn: int) -> list[str]:
    again = twiml.with_query(url, {voice_parse.STEP: voice_parse.WAIT, "n": str(turn + 1)})
    quiet = twiml.verb("Pause", length=config.poll_s)
    music = twiml.verb("Play", text=config.hold_music_url) if config.hold_music_url else quiet
    return [music, twiml.verb("Redirect", text=again, method="POST")]


def _dial(config: VoiceConfig, url: str, to: str, named: Mapping[str, str], *, caller_id: str | None) -> str:
    """Ring somebody and talk; we are told when they answer, what came of it, and where the recording is."""
    told = twiml.with_query(url, {voice_parse.STEP: voice_parse.LEG, **named})
    recorded = twiml.with_query(url, {voice_parse.STEP: voice_parse.RECORDING, **named})
    kind = "Sip" if to.lower().startswith(("sip:", "sips:")) else "Client" if to.startswith("client:") else "Number"
    callee = twiml.verb(
        kind,
        text=to.removeprefix("client:") if kind == "Client" else to,
        statusCallback=told,
        statusCallbackEvent="ringing answered completed",
        machineDetection="Enable" if config.machine_detection and kind == "Number" else None,
        amdStatusCallback=told if config.machine_detection and kind == "Number" else None,
    )
    return twiml.verb(
        "Dial",
        callee,
        action=twiml.with_query(url, {voice_parse.STEP: voice_parse.DIALLED, **named}),
        timeout=config.ring_timeout_s,
        callerId=caller_id,
        record="record-from-answer-dual" if config.record else None,
        recordingStatusCallback=recorded if config.record else None,
    )


def _voicemail(config: VoiceConfig, url: str, goodbye: str) -> list[str]:
    def step(name: str) -> str:
        return twiml.with_query(url, {voice_parse.STEP: name})

    record = twiml.verb(
        "Record",
        maxLength=config.voicemail_max_s,
        playBeep=True,
        action=step(voice_parse.VOICEMAIL),
        recordingStatusCallback=step(voice_parse.RECORDING),
        transcribe=True if config.transcribe else None,
        transcribeCallback=step(voice_parse.TRANSCRIPTION) if config.transcribe else None,
    )
    return [record, goodbye, twiml.verb("Hangup")]


def call_back(config: VoiceConfig, *, url: str, ours: str, customer: str) -> str:
    """The whole of a call that we place, for the agent who has picked up: a word, then the customer is rung."""
    said = _say(config, "dialling", config.language)
    dial = _dial(config, url, customer, {voice_parse.OURS: ours}, caller_id=config.number)
    return twiml.response(said, dial).decode()


def as_json(config: VoiceConfig, now: Situation | None) -> dict[str, object]:
    """For other systems: what to do with the caller now. They ask again by telling the same event again."""
    what = decide(config, now, step="" if now is None else voice_parse.WAIT)
    shown: dict[str, object] = {"do": what.do}
    if what.position is not None:
        shown["position"] = what.position
    if what.to is not None:
        shown["to"] = what.to
    return shown
