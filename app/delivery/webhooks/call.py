"""One call on the wire: signed by every key that counts, never redirected, never into the cloud's own network."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from uuid import UUID

import httpx

from app import clock, log
from app.channels import provider
from app.channels.signatures import sign_webhook
from app.delivery import guard
from app.delivery.guard import GuardedTransport, PrivateAddress

_GONE = 410
_ERROR = 500
_KEPT_S = 2.0
"""Shorter than any server keeps an idle connection: one that it closes just then would look like a failure."""
_HINT = "ROUNDTRIP_WEBHOOK_ENDPOINTS_PRIVATE=true allows such addresses"
_OWN_CLOUD = IPv6Address("fd00:ec2::254")
_logger = log.get("webhooks")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call was not taken. `gone`: the receiver says that there will never be anybody again."""

    error: str
    status: int | None = None
    retry_after_s: float | None = None
    gone: bool = False


class Client:
    """Connections to one endpoint, kept while it is being called: they are used under no other name."""

    def __init__(self, url: str, *, private: bool, timeout_s: float, connections: int, tls: ssl.SSLContext) -> None:
        self.url, self._timeout_s = url, timeout_s
        limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEPT_S
        )
        inner = httpx.AsyncHTTPTransport(verify=tls, limits=limits)
        guarded = GuardedTransport(inner, private=private, resolve=_resolve, hint=_HINT)
        self._http = httpx.AsyncClient(transport=guarded, follow_redirects=False, trust_env=False, timeout=timeout_s)

    async def call(self, call_id: UUID, body: bytes, keys: Sequence[bytes]) -> tuple[int | None, Failure | None]:
        """The status of the answer, where there was one; and why it counts as a failure."""
        try:
            async with asyncio.timeout(self._timeout_s):
                request = self._http.build_request(
                    "POST", self.url, content=body, headers=_headers(call_id, body, keys)
                )
                response = await self._http.send(request, stream=True)
                try:
                    failure = None if response.is_success else await _refused(response)
                    if failure is None:
                        await provider.excerpt(response)  # read to its end, a short one leaves the connection usable
                    return response.status_code, failure
                finally:
                    await response.aclose()
        except PrivateAddress as error:
            return None, Failure(str(error))
        except TimeoutError:
            return None, Failure(f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, Failure(f"no answer ({type(error).__name__})")
        except Exception as error:
            _logger.error("webhook failed", call_id=call_id, error=type(error).__name__, exc_info=True)
            return None, Failure(f"our own code failed ({type(error).__name__})")

    async def close(self) -> None:
        await self._http.aclose()


def _headers(call_id: UUID, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Standard Webhooks: a signature of each key, the current one's first."""
    at = clock.now()
    signed = [sign_webhook(key, str(call_id), body, at=at) for key in keys]
    signatures = " ".join(headers["webhook-signature"] for headers in signed)
    return {**signed[0], "webhook-signature": signatures, "content-type": "application/json", "user-agent": "Roundtrip"}


async def _refused(response: httpx.Response) -> Failure:
    status = response.status_code
    if response.is_redirect:
        return Failure(f"answered {status}: redirects are not followed", status)
    said = await provider.excerpt(response)
    asked = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
    error = f"answered {status}" + (f": {said}" if said else "")
    return Failure(error[:_ERROR], status, asked, gone=status == _GONE)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _resolve(host: str, port: int) -> Sequence[str]:
    """What is never meant, private networks allowed or not: where clouds hand out a machine's credentials."""
    found = [host] if _is_address(host) else await guard.resolve(host, port)
    for address in map(ip_address, found):
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        plain = inner or address
        if plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain == _OWN_CLOUD:
            raise PrivateAddress("webhooks do not go to link-local, multicast or unspecified addresses")
    return found
