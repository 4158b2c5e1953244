"""Mail: taken in by our own SMTP receiver (intake/mailbox.py), sent by the operator's SMTP server."""

from typing import ClassVar

import httpx

from app.channels import mail_compose, mail_envelope, mail_imap, mail_imap_server, mail_parse, mail_send, mail_webhooks
from app.channels.base import Call, Capabilities, ConfigModel, Outgoing, Parsed, SendError, SendFailure, Sent
from app.channels.mail_config import MailConfig

# How the envelope of a mail is kept in the journal, so that a replay sees what the receiver saw.
ENVELOPE_FROM = "x-envelope-from"
ENVELOPE_TO = "x-envelope-to"


class MailAdapter:
    """Sending twice is harmless: a retry repeats the Message-ID, and mail servers and programs know it by that."""

    type: ClassVar[str] = "email"
    config_model: ClassVar[ConfigModel] = MailConfig
    capabilities: ClassVar[Capabilities] = Capabilities(text_limit=1_000_000, idempotent_send=True, files=True)

    def verify(self, config: MailConfig, call: Call) -> None:
        """A provider's webhook; SMTP and IMAP ask nobody."""
        mail_webhooks.verify(config, call)

    def parse(self, config: MailConfig, call: Call) -> Parsed:
        """A provider's call; or the raw mail as the body, its envelope in two headers, as `envelope_headers` made them."""
        if config.inbound is not None and ENVELOPE_TO not in call.headers:
            return mail_webhooks.parse(config, call)
        recipients = [item.strip() for item in call.headers.get(ENVELOPE_TO, "").split(",") if item.strip()]
        sender = call.headers.get(ENVELOPE_FROM)
        return mail_parse.parse(call.body, config, recipients=recipients, envelope_from=sender)

    async def send(self, config: MailConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        if config.smtp_url is None:
            raise SendError(SendFailure.CONFIG, "the channel has no smtp_url")
        to = outgoing.address.get("email")
        if not isinstance(to, str) or "@" not in to:
            raise SendError(SendFailure.RECIPIENT, "the customer has no mail address")
        server = _smtp(config)
        try:
            mail = mail_compose.compose(config, outgoing, to=to).as_bytes()
            envelope = mail_send.Envelope(
                sender=mail_compose.envelope_address(mail_envelope.envelope_sender(config, outgoing.message_id)),
                recipient=mail_compose.envelope_address(to),
                copies=[mail_compose.envelope_address(copy) for copy in mail_compose.copies(config, outgoing)],
                name=outgoing.message_id.hex,
                notify=config.dsn_notify,
            )
        except (ValueError, IndexError) as error:
            raise SendError(
                SendFailure.RECIPIENT, f"the address cannot be written to ({type(error).__name__})"
            ) from None
        detail = await mail_send.deliver(server, mail, envelope, attempt=outgoing.attempt)
        own_id = mail_compose.message_id(config, outgoing)
        return Sent(provider_message_id=own_id, thread_key=own_id, detail=detail)

    async def check(self, config: MailConfig, http: httpx.AsyncClient) -> None:
        """Logs in to the SMTP server and opens the IMAP folder, as far as there are any. Raises SendError."""
        if config.smtp_url is not None:
            try:
                await mail_send.check(_smtp(config))
            except SendError as error:
                raise SendError(error.failure, f"SMTP: {error.detail}") from None
        if config.imap_url is not None:
            await _check_imap(config.imap_url.get_secret_value())


async def _check_imap(imap_url: str) -> None:
    server = mail_imap_server.server_of(imap_url)
    try:
        async with mail_imap.Imap(server) as imap:
            await imap.select(server.folder, read_only=True)
    except mail_imap_server.ImapRefused as error:
        raise SendError(SendFailure.REAUTH, f"IMAP: {error}") from None
    except mail_imap_server.ImapSetup as error:
        raise SendError(SendFailure.CONFIG, f"IMAP: {error}") from None
    except mail_imap_server.ImapError as error:
        raise SendError(SendFailure.RETRY, f"IMAP: {error}") from None


def _smtp(config: MailConfig) -> mail_send.Server:
    assert config.smtp_url is not None
    try:
        return mail_send.server_of(config.smtp_url.get_secret_value())
    except ValueError as error:
        raise SendError(SendFailure.CONFIG, str(error)) from None


def envelope_headers(sender: str | None, recipients: list[str]) -> dict[str, str]:
    """`sender` is empty for a bounce; None when there was no envelope."""
    given = {ENVELOPE_TO: ",".join(recipients)}
    return given if sender is None else {**given, ENVELOPE_FROM: sender}
