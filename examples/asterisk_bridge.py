"""Tell Roundtrip of an Asterisk's calls: its ARI events become the signed telephone events of a `voice` channel.

    ARI_URL=http://pbx:8088/ari ARI_USER=roundtrip ARI_PASSWORD=... ARI_APP=roundtrip \\
    ROUNDTRIP_WEBHOOK=https://desk.example/channels/<id>/webhook ROUNDTRIP_SECRET=whsec_... python asterisk_bridge.py

`mapped` is the whole of the translation; the rest is a connection that comes back when it is lost. Needs httpx and
websockets. docs/phone.md tells how the dialplan sends calls here.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import websockets

_AGAIN_S = (1, 2, 5, 15, 30)


def mapped(event: Mapping[str, Any], *, recordings: str = "") -> dict[str, Any] | None:
    """An ARI event as one of ours; None for one that says nothing of a customer's call.

    A recording belongs to a call when its name begins with the channel's id (`1586730880.1791-talk`), or when it is of that
    very channel. `recordings` is the address of stored recordings, without the name.
    """
    kind = event.get("type")
    channel = event.get("channel") or {}
    if kind == "RecordingFinished":
        return _recording(event, recordings)
    if not channel.get("id") or _is_rung(event, channel):
        return None
    said = {
        "call_id": channel["id"],
        "direction": "inbound",
        "from": (channel.get("caller") or {}).get("number") or "",
        "to": (channel.get("dialplan") or {}).get("exten"),
        "at": moment(event.get("timestamp")),
    }
    if name := (channel.get("caller") or {}).get("name"):
        said["name"] = name
    if kind == "StasisStart":
        return {"event": "call.started", **said}
    if kind == "ChannelStateChange":
        return {"event": "call.answered", **said} if channel.get("state") == "Up" else None
    if kind == "ChannelDtmfReceived":
        return {"event": "call.dtmf", **said, "digits": event.get("digit")}
    if kind == "ChannelDestroyed":
        return {"event": "call.ended", **said, "cause": f"{event.get('cause')} {event.get('cause_txt', '')}".strip()}
    return {"event": "call.ended", **said} if kind == "StasisEnd" else None


def _is_rung(event: Mapping[str, Any], channel: Mapping[str, Any]) -> bool:
    """Channels that we made to ring an agent have the argument `agent`; they are not customers."""
    data = (channel.get("dialplan") or {}).get("app_data") or ""
    return "agent" in (event.get("args") or ()) or data.endswith(",agent")


def _recording(event: Mapping[str, Any], recordings: str) -> dict[str, Any] | None:
    recording = event.get("recording") or {}
    name, (kind, _, target) = recording.get("name") or "", (recording.get("target_uri") or "").partition(":")
    call_id = target if kind == "channel" else name.partition("-")[0]
    if not name or "." not in call_id:
        return None
    return {
        "event": "call.recording",
        "call_id": call_id,
        "direction": "inbound",
        "at": moment(event.get("timestamp")),
        "recording": {
            "url": f"{recordings}/{name}/file",
            "duration_s": recording.get("duration"),
            "mime": {"wav": "audio/wav", "mp3": "audio/mpeg"}.get(recording.get("format", ""), "audio/wav"),
        },
    }


def moment(given: Any) -> str | None:
    """Asterisk leaves out the colon of the zone: 2020-04-12T22:34:41.144+0000."""
    text = given if isinstance(given, str) else ""
    bare = len(text) > 5 and text[-5] in "+-" and text[-4:].isdigit()
    return f"{text[:-2]}:{text[-2:]}" if bare else text or None


def signed(secret: str, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    call, at = f"ari_{uuid.uuid4().hex}", str(int(time.time()))
    mac = hmac.digest(key, f"{call}.{at}.".encode() + body, hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-id": call,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


async def tell(http: httpx.AsyncClient, webhook: str, secret: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Until it is stored; our answer says what to do with the caller now (docs/phone.md)."""
    body = json.dumps(said).encode()
    for wait_s in (*_AGAIN_S, None):
        try:
            answer = await http.post(webhook, content=body, headers=signed(secret, body))
            if answer.is_success:
                return dict(answer.json())
            if answer.status_code < 500:
                answer.raise_for_status()
        except httpx.TransportError:
            pass
        if wait_s is None:
            raise ConnectionError("Roundtrip does not answer")
        await asyncio.sleep(wait_s)
    return {}


async def run(env: Mapping[str, str]) -> None:
    """Read events for ever. The credentials go into a header: in the address they would end in logs."""
    base, login = env["ARI_URL"].rstrip("/"), f"{env['ARI_USER']}:{env['ARI_PASSWORD']}"
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
    address = f"{base.replace('http', 'ws', 1)}/events?app={env['ARI_APP']}&subscribeAll=false"
    async with httpx.AsyncClient(timeout=20) as http:
        async for socket in websockets.connect(address, additional_headers=headers):
            try:
                async for text in socket:
                    said = mapped(json.loads(text), recordings=f"{base}/recordings/stored")
                    if said is not None:
                        print(said["event"], said["call_id"], await tell(http, env["ROUNDTRIP_WEBHOOK"], env["ROUNDTRIP_SECRET"], said))  # fmt: skip
            except websockets.ConnectionClosed:
                continue


if __name__ == "__main__":
    asyncio.run(run(os.environ))
