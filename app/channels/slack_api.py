"""Slack's Web API as we call it, and what its errors mean for a message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from pydantic import SecretStr

from app import clock
from app.channels import provider
from app.channels.base import OutboundFile, SendError, SendFailure
from app.channels.hiding import hide
from app.channels.text import clean, key

# Whoever has the address of an upload may use it.
hide(r"(https?://[^\s\"']*/upload/v\d+/)[^\s\"']+", by=r"\1<signed>")


FAILURES: dict[str, SendFailure] = {
    **dict.fromkeys(
        ("ratelimited", "rate_limited", "service_unavailable", "team_added_to_org", "request_timeout"),
        SendFailure.RETRY,
    ),
    # Slack says of these that the work may be done all the same.
    **dict.fromkeys(("internal_error", "fatal_error"), SendFailure.UNKNOWN),
    **dict.fromkeys(
        ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "invalid_token"),
        SendFailure.REAUTH,
    ),
    **dict.fromkeys(
        (
            *("missing_scope", "not_allowed_token_type", "no_permission", "access_denied", "accesslimited"),
            *("ekm_access_denied", "team_access_not_granted", "org_login_required", "enterprise_is_restricted"),
            *("as_user_not_supported", "two_factor_setup_required", "deprecated_endpoint", "method_deprecated"),
            *("unknown_method", "team_not_found", "restricted_action", "missing_post_type", "invalid_post_type"),
        ),
        SendFailure.CONFIG,
    ),
    **dict.fromkeys(
        (
            *("channel_not_found", "not_in_channel", "is_archived", "user_not_found", "user_is_restricted"),
            *("cannot_dm_bot", "is_inactive", "messages_tab_disabled", "thread_not_found", "cannot_reply_to_message"),
            *("restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
            *("restricted_action_thread_locked", "restricted_action_non_threadable_channel"),
        ),
        SendFailure.RECIPIENT,
    ),
    "message_limit_exceeded": SendFailure.QUOTA,
    "storage_limit_reached": SendFailure.QUOTA,
}


@dataclass(frozen=True, slots=True)
class Slack:
    base: str
    token: SecretStr

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token.get_secret_value()}"}

    async def post(self, http: httpx.AsyncClient, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A call that must not be made twice. Raises SendError."""
        headers = {**self.headers(), "content-type": "application/json; charset=utf-8"}
        return await self._call(http, name, idempotent=False, headers=headers, content=orjson.dumps(payload))

    async def ask(self, http: httpx.AsyncClient, name: str, form: Mapping[str, str]) -> dict[str, Any]:
        """A call that changes nothing. Raises SendError."""
        return await self._call(http, name, idempotent=True, headers=self.headers(), data=dict(form))

    async def upload(self, http: httpx.AsyncClient, file: OutboundFile) -> str:
        """The id of a file that lies at Slack and that nobody sees yet. Raises SendError."""
        form = {"filename": file.name, "length": str(len(file.data))}
        answer = await self.ask(http, "files.getUploadURLExternal", form)
        url, file_id = answer.get("upload_url"), key(answer.get("file_id"))
        if not isinstance(url, str) or file_id is None or not self._is_slacks(url):
            raise SendError(SendFailure.RETRY, f"Slack does not say where {file.name!r} should go")
        try:
            # The address is the permission: no token goes along.
            response = await http.post(
                url, content=file.data, headers={"content-type": file.media_type}, follow_redirects=False
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            provider.fail_on(error, idempotent=True)
        if not response.is_success:
            failure = provider.by_status(response.status_code)
            raise SendError(failure, f"Slack answered {response.status_code} to the file {file.name!r}")
        return file_id

    def _is_slacks(self, url: str) -> bool:
        try:
            parts, own = urlsplit(url), urlsplit(self.base)
            same = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        except ValueError:
            return False
        return same or (parts.scheme == "https" and (parts.hostname or "").endswith(".slack.com"))

    async def _call(self, http: httpx.AsyncClient, name: str, *, idempotent: bool, **given: Any) -> dict[str, Any]:
        try:
            response = await http.post(f"{self.base}/{name}", follow_redirects=False, **given)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            provider.fail_on(error, idempotent=idempotent)
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            answer = None
        if response.is_success and isinstance(answer, dict) and answer.get("ok") is True:
            return answer
        raise self._refusal(response, answer, idempotent=idempotent)

    def _refusal(self, response: httpx.Response, answer: Any, *, idempotent: bool) -> SendError:
        """Slack refuses with 200 and `ok: false`; only too many calls have a status of their own."""
        said = answer.get("error") if isinstance(answer, dict) else None
        status = response.status_code
        if not isinstance(said, str) and response.is_success:
            unclear = SendFailure.RETRY if idempotent else SendFailure.UNKNOWN
            return SendError(unclear, f"an answer that is not Slack's (status {status})")
        name = clean(said.replace(self.token.get_secret_value(), "<token>"), 200) if isinstance(said, str) else ""
        failure = FAILURES.get(name) or provider.by_status(status)
        if idempotent and failure is SendFailure.UNKNOWN:
            failure = SendFailure.RETRY
        wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
        needed = answer.get("needed") if isinstance(answer, dict) else None
        more = f" (needs {clean(needed, 100)})" if isinstance(needed, str) else ""
        return SendError(
            failure,
            f"Slack answered {status}{f': {name}{more}' if name else ''}",
            retry_after_s=wish if failure is SendFailure.RETRY else None,
        )
