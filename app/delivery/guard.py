"""Calls to addresses that others wrote down: only into the public internet, and to the address that was looked at."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_NAT64 = IPv6Network("64:ff9b::/96")


class PrivateAddress(httpx.TransportError):
    """The name stands for an address of a network of its own: this machine, the local network, a cloud's metadata."""

    permanent = True  # it is no use to try again


def is_public(address: Address) -> bool:
    """Reachable by everybody. An IPv4 address inside an IPv6 one is looked at as itself."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local or address.teredo is not None:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, in the order in which they should be tried. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Looks a name up once, refuses it when any of its addresses is not public, and connects to one of those.

    So a name that means something else a moment later leads nowhere. The certificate is checked against the name.
    `private` lets everything through, still pinned; `allowed` are private networks that may be called all the same.
    Raises PrivateAddress, which says how the operator allows it (`hint`).
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport | None = None,
        *,
        private: bool,
        resolve: Resolve = resolve,
        allowed: Sequence[Network] = (),
        hint: str = "ROUNDTRIP_WEBHOOK_PRIVATE=true allows such addresses",
    ) -> None:
        # No connection is kept: two names may share an address, and neither may use what was opened for the other.
        self._inner = inner or httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._private, self._resolve, self._allowed, self._hint = private, resolve, allowed, hint

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Addresses are tried in turn while no connection comes about: until then nothing has been sent."""
        addresses = await self._look_up(request.url)
        for address in addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._inner.handle_async_request(_pinned(request, addresses[-1]))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _look_up(self, url: httpx.URL) -> list[str]:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = list(await self._resolve(url.raw_host.decode("ascii"), port))
        except OSError as error:
            raise httpx.ConnectError(f"the name is not known ({type(error).__name__})") from None
        if not found:
            raise httpx.ConnectError("the name has no address")
        if not self._private and not all(self._may_call(ip_address(address)) for address in found):
            raise PrivateAddress(f"the address is private; {self._hint}")
        return found

    def _may_call(self, address: Address) -> bool:
        return is_public(address) or any(address in network for network in self._allowed)


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """To this address, in the name of the host: its Host header is set already."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
    )
