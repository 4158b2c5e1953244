"""What Meta's three channels say to the contract kit in the same way."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from app.channels.base import Call, SendFailure
from app.channels.kit import WEBHOOK, Answer, Proof
from app.channels.kit.description import Config

PROOF = Proof(secrets=("app_secret",), headers=("x-hub-signature-256",))
SECRETS = {"app_secret": "app-secret-0123", "verify_token": "verify-token-0123", "access_token": "EAAaccess-token-0123"}
RETRY_AFTER = Answer(400, b'{"error":{"code":613,"message":"Calls to this api have exceeded"}}', {"retry-after": "7"})
REFUSED = Answer(401, b'{"error":{"code":190,"message":"Error validating access token"}}')


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    mac = hmac.new(config["app_secret"].encode(), payload, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": f"sha256={mac}", "content-type": "application/json"}
    return Call("POST", WEBHOOK, {}, headers, payload, at)


def refusal(words: str, code: int, *, subcode: int | None = None, status: int = 400) -> Answer:
    error: dict[str, Any] = {"message": words, "type": "OAuthException", "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    return Answer(status, json.dumps({"error": error}).encode())


def send_api_refusal(failure: SendFailure, words: str) -> Answer | None:
    """Messenger's and Instagram's."""
    codes: dict[SendFailure, tuple[int, int | None]] = {
        SendFailure.PERMANENT: (100, None),
        SendFailure.RETRY: (1200, None),
        SendFailure.REAUTH: (190, None),
        SendFailure.CONFIG: (200, None),
        SendFailure.RECIPIENT: (551, None),
        SendFailure.WINDOW: (10, 2018278),
    }
    return refusal(words, codes[failure][0], subcode=codes[failure][1]) if failure in codes else None
