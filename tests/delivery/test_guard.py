"""Webhooks lead into the public internet only, and to the address that was looked at."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.delivery.guard import GuardedTransport, PrivateAddress, is_public, resolve
from tests.support.providers import HttpServer
from tests.support.tcp import Peer


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.2.1",
        "224.0.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:53aa:64c::1",
    ],
)  # fmt: skip
def test_private(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public(address: str) -> None:
    assert is_public(ip_address(address))


class Names:
    """A resolver whose answers a test decides; the last one is repeated."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Wire:
    """What would have gone out; some addresses do not answer."""

    def __init__(self, *dead: str) -> None:
        self.sent: list[httpx.Request] = []
        self.dead = dead

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        if request.url.host in self.dead:
            raise httpx.ConnectError("no route")
        return httpx.Response(200)


def client(names: Names, wire: Wire, *, private: bool = False) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=GuardedTransport(httpx.MockTransport(wire), private=private, resolve=names))


async def test_it_connects_to_the_address_in_the_name_of_the_host() -> None:
    names, wire = Names(["93.184.216.34"], ["127.0.0.1"]), Wire()
    async with client(names, wire) as http:
        await http.post("https://hooks.example.com:8443/a?b=c", content=b"body")
    [sent] = wire.sent
    assert str(sent.url) == "https://93.184.216.34:8443/a?b=c"
    assert sent.headers["host"] == "hooks.example.com:8443"
    assert sent.extensions["sni_hostname"] == "hooks.example.com"
    assert sent.content == b"body"
    assert names.asked == 1, "a second look could find another address"


@pytest.mark.parametrize("found", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1", "93.184.216.34"]])
async def test_a_name_with_a_private_address_is_refused(found: list[str]) -> None:
    wire = Wire()
    async with client(Names(found), wire) as http:
        with pytest.raises(PrivateAddress):
            await http.post("https://hooks.example.com/")
    assert wire.sent == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_however_it_is_written(host: str) -> None:
    async with httpx.AsyncClient(transport=GuardedTransport(private=False)) as http:
        with pytest.raises((PrivateAddress, httpx.ConnectError)):
            await http.post(f"http://{host}:1/")


async def test_private_ones_where_they_are_wanted() -> None:
    async with HttpServer() as server, httpx.AsyncClient(transport=GuardedTransport(private=True)) as http:
        assert (await http.post(f"http://localhost:{server.port}/x", content=b"{}")).status_code == 200
        assert server.requests[0][1]["host"] == f"localhost:{server.port}"


async def test_another_address_when_one_does_not_answer() -> None:
    wire = Wire("93.184.216.34")
    async with client(Names(["93.184.216.34", "93.184.216.35"]), wire) as http:
        await http.post("http://hooks.example.com/", content=b"body")
    assert [(sent.url.host, sent.content) for sent in wire.sent] == [
        ("93.184.216.34", b"body"),
        ("93.184.216.35", b"body"),
    ]


async def test_a_name_that_nobody_knows() -> None:
    async with client(Names([]), Wire()) as http:
        with pytest.raises(httpx.ConnectError):
            await http.post("http://hooks.example.com/")
    assert "127.0.0.1" in await resolve("127.0.0.1", 80)


def certificate(name: str, folder: Path) -> Path:
    """Key and self-signed certificate of a host, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "host.pem"
    path.write_bytes(secret + made.public_bytes(encoding))
    return path


async def test_the_certificate_is_checked_against_the_name(tmp_path: Path) -> None:
    path = certificate("hooks.example.com", tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    inner = httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=str(path)))
    guarded = GuardedTransport(inner, private=True, resolve=Names(["127.0.0.1"]))
    async with Peer(answer, tls=served) as server, httpx.AsyncClient(transport=guarded) as http:
        assert (await http.get(f"https://hooks.example.com:{server.port}/")).status_code == 200
        for other in ("other.example.com", "127.0.0.1"):
            with pytest.raises(httpx.ConnectError):
                await http.get(f"https://{other}:{server.port}/")
