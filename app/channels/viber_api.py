"""Viber's REST API as we call it, and what its status numbers mean for a message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from app import clock
from app.channels import provider
from app.channels.base import SendError, SendFailure
from app.channels.text import JSONDecodeError, clean, loads

SIZE_LIMIT = 30_000  # bytes of a call's JSON
_RETRIED_ONCE = 99  # "general error": once more, then a person looks at it

FAILURES: Mapping[int, SendFailure] = {
    2: SendFailure.REAUTH,
    **dict.fromkeys((5, 6, 11), SendFailure.RECIPIENT),  # not registered, not subscribed, no device for it
    **dict.fromkeys((1, 7, 8, 9, 10, 13, 15, 18, 24), SendFailure.CONFIG),
    12: SendFailure.RETRY,
    23: SendFailure.QUOTA,  # the month's free messages are used up
    _RETRIED_ONCE: SendFailure.RETRY,
}


@dataclass(frozen=True, slots=True)
class Viber:
    base: str
    token: SecretStr

    async def post(
        self,
        http: httpx.AsyncClient,
        name: str,
        payload: Mapping[str, Any],
        *,
        idempotent: bool,
        attempt: int = 1,
    ) -> dict[str, Any]:
        """The answer to a call that Viber took. Raises SendError."""
        body = orjson.dumps(payload)
        if len(body) > SIZE_LIMIT:
            raise SendError(SendFailure.PERMANENT, f"Viber takes {SIZE_LIMIT} bytes in one call")
        headers = {"x-viber-auth-token": self.token.get_secret_value(), "content-type": "application/json"}
        try:
            response = await http.post(f"{self.base}/pa/{name}", content=body, headers=headers, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            provider.fail_on(error, idempotent=idempotent)
        try:
            answer = loads(response.content)
        except JSONDecodeError:
            answer = None
        status = answer.get("status") if isinstance(answer, dict) else None
        if response.is_success and isinstance(answer, dict) and status == 0 and not isinstance(status, bool):
            return answer
        raise self._refusal(response, answer, idempotent=idempotent, attempt=attempt)

    def _refusal(self, response: httpx.Response, answer: Any, *, idempotent: bool, attempt: int) -> SendError:
        """Viber refuses with HTTP 200 and a number; whatever has none is read by its HTTP status."""
        number = answer.get("status") if isinstance(answer, dict) else None
        wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
        if not isinstance(number, int) or isinstance(number, bool) or number == 0:
            status = response.status_code
            if response.is_success:
                unclear = SendFailure.RETRY if idempotent else SendFailure.UNKNOWN
                return SendError(unclear, f"an answer that is not Viber's (status {status})")
            failure = provider.by_status(status)
            return SendError(
                failure, f"Viber answered {status}", retry_after_s=wish if failure is SendFailure.RETRY else None
            )
        failure = FAILURES.get(number, SendFailure.PERMANENT)
        if number == _RETRIED_ONCE and attempt > 1:
            failure = SendFailure.PERMANENT
        said = str(answer.get("status_message") or "no reason").replace(self.token.get_secret_value(), "<token>")
        return SendError(
            failure,
            f"Viber answered status {number}: {clean(said, 300)}",
            retry_after_s=wish if failure is SendFailure.RETRY else None,
        )
