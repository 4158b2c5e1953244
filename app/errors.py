"""Every refusal the service can give, as one tree.

Problem                         status  when
├── BadRequest                  400     the request cannot be understood
│   └── BadFrame                        (sockets) the frame is not one of the protocol's
├── Unauthorized                401     no token, or a wrong one; a call that is not genuine
├── Forbidden                   403     the token does not allow this
├── NotFound                    404     no such thing, or not yours to see
├── MethodNotAllowed            405     the address is there, and takes other methods
├── Conflict                    409     the state does not allow this now
│   ├── ConversationClosed
│   ├── NotAssigned
│   ├── OfferExpired
│   ├── AlreadyAssigned
│   ├── OfferedToAnother
│   ├── CapacityExceeded
│   ├── AlreadyExists
│   ├── WindowClosed                    the channel takes no free answers now; `allowed`, `elsewhere`: what else does
│   ├── RecipientRefused                the customer is not to be written to on this channel; `reason` says why
│   ├── NoReplyChannel                  the channel carries no answers, and none stands in for it
│   └── AlreadyAnswered
├── Gone                        410     it was there, and its time is over
├── PreconditionFailed          412     If-Match names an older version
├── PreconditionRequired        428     an update without If-Match where one is needed
├── TooLarge                    413     body, text or attachment over its limit
├── Invalid                     422     a field has a wrong value; `field` names it
│   └── IdempotencyMismatch             the key was used with another body
├── TooManyRequests             429     rate limit; `retry_after` seconds
└── Unavailable                 503     our fault, send it again; `retry_after` seconds

The class's docstring is the default detail. `app.problems` renders them as application/problem+json.
"""

from typing import Any


def sentence(message: str) -> str:
    """What a validator said, without the words that pydantic puts before it."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


class Problem(Exception):
    """Something went wrong."""

    status = 500
    code = "internal-error"

    def __init__(self, detail: str | None = None, **extra: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.extra = extra
        super().__init__(self.detail)


class BadRequest(Problem):
    """The request cannot be understood."""

    status = 400
    code = "bad-request"


class BadFrame(BadRequest):
    """The frame is not valid JSON of a known type."""

    code = "bad-frame"


class Unauthorized(Problem):
    """A valid token is needed."""

    status = 401
    code = "unauthorized"


class NotGenuine(Unauthorized):
    """The signature does not match: this call is not genuine."""

    code = "not-genuine"


class Forbidden(Problem):
    """Your token does not allow this."""

    status = 403
    code = "forbidden"


class NotFound(Problem):
    """There is no such thing, or it is not yours to see."""

    status = 404
    code = "not-found"


class MethodNotAllowed(Problem):
    """The path is there, this method is not."""

    status = 405
    code = "method-not-allowed"


class Conflict(Problem):
    """The present state does not allow this."""

    status = 409
    code = "conflict"


class ConversationClosed(Conflict):
    """The conversation is closed."""

    code = "conversation-closed"


class NotAssigned(Conflict):
    """The conversation is not assigned to you."""

    code = "not-assigned"


class OfferExpired(Conflict):
    """The offer is no longer open."""

    code = "offer-expired"


class AlreadyAssigned(Conflict):
    """Somebody has this conversation already."""

    code = "already-assigned"


class OfferedToAnother(Conflict):
    """Another agent is being asked to take this conversation."""

    code = "offered-to-another"


class CapacityExceeded(Conflict):
    """The agent has no room for this conversation."""

    code = "capacity-exceeded"


class AlreadyExists(Conflict):
    """Such a thing exists already."""

    code = "already-exists"


class NoReplyChannel(Conflict):
    """This channel carries no answers, and no other one is known by which the customer can be reached."""

    code = "no-reply-channel"


class AlreadyAnswered(Conflict):
    """This receipt has been answered already, or the matter was taken up again since."""

    code = "already-answered"


class WindowClosed(Conflict):
    """The time to answer on this channel is over until the customer writes again."""

    code = "window-closed"


class RecipientRefused(Conflict):
    """The customer is not to be written to on this channel."""

    code = "recipient-refused"


class Gone(Problem):
    """Its time is over."""

    status = 410
    code = "gone"


class PreconditionFailed(Problem):
    """It was changed since you read it; read it again."""

    status = 412
    code = "precondition-failed"


class PreconditionRequired(Problem):
    """An update needs an If-Match header with the version you read."""

    status = 428
    code = "precondition-required"


class TooLarge(Problem):
    """It is larger than allowed."""

    status = 413
    code = "too-large"


class Invalid(Problem):
    """A field has a wrong value."""

    status = 422
    code = "invalid"


class IdempotencyMismatch(Invalid):
    """This Idempotency-Key was used with another request."""

    code = "idempotency-mismatch"


class TooManyRequests(Problem):
    """Too many requests; slow down."""

    status = 429
    code = "rate-limited"


class Unavailable(Problem):
    """The service cannot take this now; send it again."""

    status = 503
    code = "unavailable"
