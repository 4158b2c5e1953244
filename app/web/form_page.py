"""`/forms/{channel_id}`: a form of ours for whoever has none, and what a visitor sees after sending one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel

from app.catalog import ChannelAccount
from app.channels import form_read, form_token
from app.channels.form_config import LANGUAGE, SUBMISSION, TOKEN, FormConfig
from app.channels.form_read import Submission, Wrong
from app.channels.text import clean
from app.clock import now
from app.errors import NotFound, Problem
from app.feedback.receipt import Language
from app.ids import new_id
from app.models import Conversation
from app.web import form_texts
from app.web.answering import Context, context_of, explanation, language_of, page, reading, subject_of, wants_json

THANKS = "form-thanks"
_ABOVE_WEBHOOK = "../.."


async def show(context: Context, request: Request, channel_id: UUID) -> Response:
    """Empty, but for what the address gives: `?order=77` fills in the field `order`."""
    account, config = await _form(context, channel_id)
    given = {
        field.name: clean(value, field.limit)
        for field in config.shown
        if field.kind not in ("checkbox", "file") and (value := request.query_params.get(field.name)) is not None
    }
    return _rendered(context, request, account, config, Submission(given))


async def thank(context: Context, request: Request, channel_id: UUID) -> Response:
    """With the way to the progress of the matter, when the visitor has opened it."""
    account, config = await _form(context, channel_id)
    conversation_id = subject_of(context.vault, THANKS, request.query_params.get("t", ""))
    async with reading(context.database) as session:
        conversation = await session.get(Conversation, conversation_id)
    own = conversation is not None and conversation.channel_id == account.id and config.show_progress_link
    language = language_of(request, None)
    return _embeddable(
        page(
            "form_thanks.html",
            language=language,
            w=form_texts.TABLES[language],
            link=context.progress_link(conversation_id) if own else None,
            root="../..",
            here=f"?t={request.query_params.get('t', '')}&lang=",
        ),
        config,
    )


class Pages:
    """How a person who has sent a form is answered; the intake calls it."""

    def wants_json(self, request: Request) -> bool:
        return wants_json(request)

    def again(
        self, request: Request, account: ChannelAccount, submission: Submission, wrong: Sequence[Wrong]
    ) -> Response:
        """The form as it was filled in, and what is wrong with it."""
        config = account.config
        assert isinstance(config, FormConfig), "the intake knows its type"
        return _rendered(context_of(request), request, account, config, submission, wrong, root=_ABOVE_WEBHOOK)

    def explain(self, request: Request, problem: Problem) -> Response:
        response = explanation(request, problem, root=_ABOVE_WEBHOOK)
        if (wait := problem.extra.get("retry_after")) is not None:
            response.headers["Retry-After"] = str(max(int(wait), 1))
        return response


async def _form(context: Context, channel_id: UUID) -> tuple[ChannelAccount, FormConfig]:
    """Raises NotFound."""
    account = await context.catalog.channel(channel_id)
    if account is None or not isinstance(account.config, FormConfig):
        raise NotFound("there is no such form")
    return account, account.config


def _rendered(
    context: Context,
    request: Request,
    account: ChannelAccount,
    config: FormConfig,
    submission: Submission,
    wrong: Sequence[Wrong] = (),
    *,
    root: str = "..",
) -> Response:
    language = language_of(request, submission.language)
    errors = {
        item.field if config.by_name(item.field) else form_read.main(config): form_texts.error(
            item.what, item.limit, language
        )
        for item in reversed(wrong)
    }
    hidden = {
        TOKEN: submission.token or form_token.issue(context.vault, account.id, at=now()),
        SUBMISSION: submission.submission_id or new_id().hex,
        LANGUAGE: language,
    }
    return _embeddable(
        page(
            "form.html",
            language=language,
            status=422 if wrong else 200,
            w=form_texts.TABLES[language],
            root=root,
            here=f"{root}/forms/{account.id}?lang=",
            action=f"{root}/channels/{account.id}/webhook",
            title=_in(config.title, language) or form_texts.TABLES[language]["title"],
            intro=_in(config.intro, language) or form_texts.TABLES[language]["intro"],
            fields=[
                {**_shape(field, language), "id": f"field-{number}", "error": errors.get(field.name)}
                for number, field in enumerate(config.shown, 1)
            ],
            values=submission.values,
            hidden=hidden,
            trap=config.trap_field,
            files_again=bool(submission.files),
            multipart=any(field.kind == "file" for field in config.shown),
        ),
        config,
    )


def _shape(field: Any, language: Language) -> dict[str, Any]:
    assert isinstance(field, BaseModel)
    shape: dict[str, Any] = {**dict(field), "label": field.text(language), "limit": field.limit}  # type: ignore[attr-defined]
    shape["options"] = [(option.value, _in(option.label, language) or option.value) for option in shape["options"]]
    return shape


def _in(words: Mapping[str, str], language: Language) -> str | None:
    return words.get(language) or words.get("en") or next(iter(words.values()), None)


def _embeddable(response: Response, config: FormConfig) -> Response:
    """The sites on the list may show it in a frame. Browsers hide a page's origin from a form that sends no referrer: this
    one needs it. A redirect to the operator's own page counts as the form's target too."""
    listed = "*" if not config.allowed_origins or "*" in config.allowed_origins else " ".join(config.allowed_origins)
    target = urlsplit(config.redirect_url or "")
    beyond = f" {target.scheme}://{target.netloc}" if target.netloc else ""
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; base-uri 'none'; frame-ancestors 'self' {listed}; form-action 'self'{beyond}; "
        "style-src 'self'"
    )
    response.headers["Referrer-Policy"] = "same-origin"
    return response
