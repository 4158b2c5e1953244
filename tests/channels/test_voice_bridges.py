"""The bridges of the examples: what Asterisk and FreeSWITCH say becomes events that a telephone line takes."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from app.channels.base import Call, CallUpdate
from app.channels.voice import VoiceAdapter
from app.channels.voice_config import VoiceConfig
from app.clock import now
from tests.channels.makers import call
from tests.support.providers import HttpServer
from tests.support.tcp import Peer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG = VoiceConfig.model_validate({"provider": "generic", "secret": SECRET})
ADAPTER = VoiceAdapter()


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ASTERISK, FREESWITCH = load("asterisk_bridge"), load("freeswitch_bridge")


def taken(said: Mapping[str, Any]) -> CallUpdate:
    """As the line reads it: nothing ignored, nothing wrong."""
    parsed = ADAPTER.parse(CONFIG, call(orjson.dumps(said)))
    assert (parsed.errors, parsed.ignored) == ((), ()), said
    (update,) = parsed.calls
    assert update.at is not None
    return update


def test_every_event_of_asterisk(fixtures: Path) -> None:
    told: dict[str, dict[str, Any]] = {}
    files = sorted((fixtures / "asterisk_ari" / "events").glob("*.json"))
    for path in files:
        said = ASTERISK.mapped(json.loads(path.read_text()), recordings="https://pbx/ari/recordings/stored")
        if said is not None:
            taken(said)
            told[path.stem] = said
    assert len(files) >= 28
    start = told["voipbin_StasisStart_1"]
    assert (start["event"], start["call_id"], start["from"]) == ("call.started", "1586730880.1791", "test123")
    assert (start["to"], start["at"]) == ("0046605844066", "2020-04-12T22:34:41.144+00:00")
    ended = taken(told["voipbin_ChannelDestroyed_1"])
    assert (ended.state, ended.cause) == ("ended", "18 No user responding")
    assert taken(told["voipbin_ChannelStateChange_1"]).state == "answered"
    assert taken(told["voipbin_StasisEnd_1"]).state == "ended"
    assert not any(name.startswith(("voipbin_Bridge", "voipbin_Playback", "voipbin_NotIn")) for name in told)


def test_asterisks_keys_recordings_and_agents() -> None:
    channel = {
        "id": "1.2",
        "state": "Up",
        "caller": {"number": "+447700900123", "name": "Grace"},
        "dialplan": {"exten": "1"},
    }
    at = {"timestamp": "2026-11-22T08:00:00.000+0000"}
    key = ASTERISK.mapped({"type": "ChannelDtmfReceived", "digit": "5", "duration_ms": 80, "channel": channel, **at})
    assert taken(key).digits == "5"
    rung = {"type": "StasisStart", "args": ["agent"], "channel": channel, **at}
    assert ASTERISK.mapped(rung) is None
    for name, target in (("1.2-talk", "bridge:b1"), ("whatever", "channel:1.2")):
        recording = {"name": name, "format": "wav", "state": "done", "duration": 7, "target_uri": target}
        heard = taken(
            ASTERISK.mapped({"type": "RecordingFinished", "recording": recording, **at}, recordings="https://r")
        )
        assert heard.recording is not None
        assert (heard.call_id, heard.recording.ref["url"]) == ("1.2", f"https://r/{name}/file")


def test_every_event_of_freeswitch(fixtures: Path) -> None:
    told: list[dict[str, Any]] = []
    files = sorted((fixtures / "freeswitch_esl" / "events").glob("*.txt"))
    for path in files:
        event = FREESWITCH.event_of(path.read_text(errors="replace"))
        assert event["Event-Name"].replace("_", "").isalpha(), path
        said = FREESWITCH.mapped(event)
        if said is not None:
            taken(said)
            told.append(said)
    assert len(files) >= 13
    [created] = told
    assert (created["event"], created["from"], created["direction"]) == ("call.started", "4986517174963", "inbound")
    assert created["at"] == "2012-10-05T11:41:46.912868+00:00"


def test_the_captured_stream_of_freeswitch(fixtures: Path) -> None:
    data = (fixtures / "freeswitch_esl" / "stream" / "fsock_capture_part1.txt").read_bytes()
    whole = list(FREESWITCH.frames(data))
    events = [FREESWITCH.event_of(body) for headers, body in whole if headers.get("Content-Type") == "text/event-plain"]
    assert len(events) >= 20
    assert all("Event-Name" in event for event in events)
    assert events[0]["FreeSWITCH-IPv6"] == "::1"
    assert [said["event"] for event in events if (said := FREESWITCH.mapped(event))] == ["call.started"]


@pytest.mark.parametrize(
    ("name", "more", "event", "shows"),
    [
        ("CHANNEL_ANSWER", {}, "call.answered", {}),
        ("DTMF", {"DTMF-Digit": "#"}, "call.dtmf", {"digits": "#"}),
        ("CHANNEL_HANGUP_COMPLETE", {"Hangup-Cause": "NORMAL_CLEARING"}, "call.ended", {"cause": "NORMAL_CLEARING"}),
        (
            "RECORD_STOP",
            {"Record-File-Path": "/var/rec/a b.wav", "variable_record_seconds": "9"},
            "call.recording",
            {"recording": {"url": "https://r/a%20b.wav", "mime": "audio/wav", "duration_s": 9}},
        ),
    ],
)
def test_freeswitchs_steps(name: str, more: dict[str, str], event: str, shows: dict[str, Any]) -> None:
    common = {"Unique-ID": "u1", "Caller-Caller-ID-Number": "+447700900123", "Event-Date-Timestamp": "1795334400000000"}
    said = FREESWITCH.mapped({"Event-Name": name, **common, **more}, recordings="https://r")
    assert said["event"] == event
    assert {key: said[key] for key in shows} == shows
    taken(said)
    leg = {"Event-Name": name, **common, **more, "Call-Direction": "outbound", "Other-Leg-Unique-ID": "u0"}
    assert FREESWITCH.mapped(leg) is None


@given(st.binary(max_size=400))
def test_no_stream_breaks_the_frames(data: bytes) -> None:
    for _, body in FREESWITCH.frames(data):
        FREESWITCH.mapped(FREESWITCH.event_of(body))


class Roundtrip(HttpServer):
    """Takes events that are signed as our own verification wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.check
        self.fails = 1

    async def check(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        ADAPTER.verify(CONFIG, Call("POST", "https://x", {}, headers, body, now()))
        if self.fails:
            self.fails -= 1
            return 503, {}, b""
        return 200, {}, b'{"status":"stored","call":{"do":"wait"}}'


async def test_asterisks_bridge_connects_signs_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    channel = {"id": "1.2", "state": "Ring", "caller": {"number": "+447700900123"}, "dialplan": {"exten": "1"}}
    event = {"type": "StasisStart", "timestamp": "2026-11-22T08:00:00.000+0000", "args": [], "channel": channel}

    async def ari(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.append(f"{socket.request.path} {socket.request.headers['Authorization']}")
        await socket.send(json.dumps(event))
        await socket.wait_closed()

    monkeypatch.setattr(ASTERISK, "_AGAIN_S", (0.01,))
    async with Roundtrip() as house, serve(ari, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        env = {"ARI_URL": f"http://127.0.0.1:{port}/ari", "ARI_USER": "u", "ARI_PASSWORD": "p", "ARI_APP": "roundtrip"}
        env |= {"ROUNDTRIP_WEBHOOK": house.base, "ROUNDTRIP_SECRET": SECRET}
        running = asyncio.create_task(ASTERISK.run(env))
        async with asyncio.timeout(30):
            while len(house.requests) < 2:
                house.arrived.clear()
                await house.arrived.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert seen == ["/ari/events?app=roundtrip&subscribeAll=false Basic dTpw"]
    assert orjson.loads(house.requests[1][2])["event"] == "call.started"


async def test_freeswitchs_bridge_logs_in_and_tells() -> None:
    said: list[bytes] = []
    body = b"Event-Name: CHANNEL_ANSWER\nUnique-ID: u1\nCaller-Caller-ID-Number: %2B447700900123\nEvent-Date-Timestamp: 1795334400000000\n\n"
    over = asyncio.Event()

    async def esl(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Content-Type: auth/request\n\n")
        for _ in range(2):
            said.append(await reader.readuntil(b"\n\n"))
            writer.write(b"Content-Type: command/reply\nReply-Text: +OK\n\n")
        writer.write(b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(body) + body)
        await over.wait()

    async with Roundtrip() as house, Peer(esl) as server, httpx.AsyncClient(timeout=20) as http:
        house.fails = 0
        env = {"ESL_HOST": "127.0.0.1", "ESL_PORT": str(server.port), "ESL_PASSWORD": "ClueCon"}
        env |= {"ROUNDTRIP_WEBHOOK": house.base, "ROUNDTRIP_SECRET": SECRET}
        running = asyncio.create_task(FREESWITCH.listen(env, http))
        told = await house.expect(lambda item: item.get("event") == "call.answered")
        over.set()
        await asyncio.gather(running, return_exceptions=True)
    assert told["from"] == "+447700900123"
    assert said[0] == b"auth ClueCon\n\n"
