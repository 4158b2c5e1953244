"""What an operator gives for an online form: its fields are data, and so is everything that keeps rubbish out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from app.channels.config import ChannelConfig, HttpUrl, Origin

Kind = Literal["text", "textarea", "email", "phone", "select", "checkbox", "file", "hidden"]
MapsTo = Literal[
    "name", "email", "phone", "subject", "text", "category", "external_ref", "attribute", "consent", "file"
]
TOKEN, SUBMISSION, LANGUAGE = "form_token", "submission_id", "lang"
_RESERVED = frozenset({TOKEN, SUBMISSION, LANGUAGE, "_charset_"})
# What sites' own frameworks and robot checks put into a form.
_MACHINERY = frozenset(
    {"csrf_token", "csrf", "csrfmiddlewaretoken", "authenticity_token", "__requestverificationtoken", "_token", "_csrf",
     "_method", "utf8", "g-recaptcha-response", "h-captcha-response", "cf-turnstile-response"}
)  # fmt: skip
_KNOWN_AS: Mapping[MapsTo, Sequence[str]] = {
    "name": ("name", "full_name", "fullname", "your_name", "姓名", "称呼"),
    "email": ("email", "e_mail", "mail", "email_address", "your_email", "邮箱", "电子邮箱"),
    "phone": ("phone", "tel", "telephone", "mobile", "phone_number", "电话", "手机"),
    "subject": ("subject", "title", "topic", "主题"),
    "text": ("message", "text", "body", "comment", "comments", "question", "description", "enquiry", "inquiry",
             "details", "your_message", "内容", "留言"),
    "category": ("category",),
    "external_ref": ("conversation_ref", "external_ref"),
    "consent": ("consent", "privacy", "gdpr", "terms", "agree", "agreement", "同意"),
    "file": ("file", "files", "attachment", "attachments", "附件"),
}  # fmt: skip
_GUESSED: Mapping[str, MapsTo] = {name: meaning for meaning, names in _KNOWN_AS.items() for name in names}
_KIND_OF: Mapping[str, Kind] = {
    "email": "email", "phone": "phone", "text": "textarea", "consent": "checkbox", "file": "file",
}  # fmt: skip
_MEANS: Mapping[str, MapsTo] = {"email": "email", "phone": "phone", "textarea": "text", "file": "file"}
_CONSENT = {
    "en": "I agree that what I enter here is stored and used to answer me.",
    "zh": "我同意存储并使用我在此填写的内容，以便答复我。",
}
_LABELS: Mapping[MapsTo, Mapping[str, str]] = {
    "name": {"en": "Name", "zh": "姓名"},
    "email": {"en": "Email address", "zh": "电子邮箱"},
    "phone": {"en": "Phone number", "zh": "电话号码"},
    "subject": {"en": "Subject", "zh": "主题"},
    "text": {"en": "Your message", "zh": "留言内容"},
    "category": {"en": "Category", "zh": "类别"},
    "file": {"en": "Files", "zh": "附件"},
    "consent": _CONSENT,
}
_LENGTHS: Mapping[MapsTo, int] = {
    "name": 200, "email": 320, "phone": 64, "subject": 1_000, "text": 20_000, "category": 64, "external_ref": 200,
    "attribute": 2_000, "consent": 64, "file": 0,
}  # fmt: skip

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


def _told(value: Any) -> Any:
    """One text for every language may be given as it is."""
    return {"en": value} if isinstance(value, str) else value


Label = Annotated[dict[Tag, Words], Field(max_length=20), BeforeValidator(_told)]
FieldName = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^\w[\w .:-]{0,63}$")]
Identifier = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", to_lower=True)
]


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        raise ValueError("must be an address or a network such as 203.0.113.0/24") from None


Network = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), AfterValidator(_network)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Option(_Part):
    """One choice of a select: what is sent, and what is read."""

    value: Words
    label: Label = Field(default_factory=dict)


def _option(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


class FormField(_Part):
    """One thing that is asked for. `maps_to` says what it becomes; an `attribute` stands below the text.

    Of a consent (a checkbox), the label is the text that is agreed to; `purpose` and `version` are kept with it.
    """

    name: FieldName
    label: Label = Field(default_factory=dict)
    kind: Kind = "text"
    required: bool = False
    options: Annotated[list[Annotated[Option, BeforeValidator(_option)]], Field(max_length=200)] = Field(
        default_factory=list
    )
    max_length: int | None = Field(default=None, ge=1, le=100_000)
    maps_to: MapsTo = "attribute"
    purpose: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.-]{1,64}$")] = "contact"
    version: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)] = "1"

    @model_validator(mode="before")
    @classmethod
    def _guess(cls, given: Any) -> Any:
        """What is left out follows from the name, then from the kind."""
        if isinstance(given, str):
            given = {"name": given, "required": _meaning(given) in ("text", "consent")}
        if not isinstance(given, dict):
            return given
        kind, name = given.get("kind"), given.get("name")
        meaning = given.get("maps_to") or _fitting(_meaning(name), kind) or _MEANS.get(str(kind), "attribute")
        filled = {**given, "maps_to": meaning}
        filled.setdefault("kind", _KIND_OF.get(meaning, "text"))
        return filled

    @model_validator(mode="after")
    def _sound(self) -> FormField:
        if self.kind == "select" and not self.options:
            raise ValueError("a select needs options")
        if (self.kind == "file") != (self.maps_to == "file"):
            raise ValueError("a file maps to `file`, and nothing else does")
        if self.maps_to == "consent" and self.kind != "checkbox":
            raise ValueError("a consent is a checkbox")
        return self

    @property
    def limit(self) -> int:
        """Characters."""
        return self.max_length or _LENGTHS[self.maps_to]

    def text(self, language: str) -> str:
        """The label in a language, else in English, else in whatever there is."""
        named = self.label or _LABELS.get(self.maps_to, {})
        fallback = next(iter(named.values()), self.name.replace("_", " ").strip().capitalize())
        return named.get(language) or named.get("en") or fallback


def _meaning(name: Any) -> MapsTo | None:
    return _GUESSED.get(name.strip().casefold().replace("-", "_").replace(" ", "_")) if isinstance(name, str) else None


def _fitting(meaning: MapsTo | None, kind: Any) -> MapsTo | None:
    """A select called `name` is no name."""
    if meaning is None or kind is None or kind == "hidden" or _KIND_OF.get(meaning, "text") == kind:
        return meaning
    free = kind in ("text", "textarea", "select") and meaning in ("name", "subject", "text", "category", "external_ref")
    return meaning if free else None


DEFAULT_FIELDS: Sequence[FormField] = (
    FormField(name="name"),
    FormField(name="email", required=True),
    FormField(name="subject"),
    FormField(name="message", required=True),
    FormField(name="consent", required=True),
)


class RepliesElsewhere(ChannelConfig):
    """A channel that carries no answers: they go by the one that is named here."""

    reply_channel_id: Identifier | None = None
    reply_by_identities: bool = Field(
        default=False, description="without it: by mail or text message, where the customer is known there"
    )


class FormConfig(RepliesElsewhere):
    """Empty `fields` are the shipped ones: name, email, subject, message, consent. A field may be its bare name.

    `trap_field` is a field that only robots fill. `min_fill_s` is the least time a person needs on our own page;
    `require_token` refuses to believe a submission that did not come from it. Limits count per `limit_window_s`; that of an
    address does not hold for `trusted_addresses`: a site's own server sends for everybody. What comes along without being
    asked for is kept with the message, unless `undeclared` says otherwise.
    """

    allowed_origins: list[Origin] = Field(default_factory=list, max_length=200)
    fields: list[FormField] = Field(default_factory=list, max_length=100)
    title: Label = Field(default_factory=dict)
    intro: Label = Field(default_factory=dict)
    redirect_url: HttpUrl | None = None
    show_progress_link: bool = True
    trap_field: FieldName = "reference_check"
    min_fill_s: float = Field(default=2, ge=0, le=600)
    require_token: bool = False
    duplicate_window_s: float = Field(default=600, ge=0, le=86_400)
    address_limit: int = Field(default=30, ge=1, le=1_000_000)
    trusted_addresses: list[Network] = Field(default_factory=list, max_length=200)
    undeclared: Literal["keep", "ignore"] = "keep"
    channel_limit: int = Field(default=600, ge=1, le=10_000_000)
    limit_window_s: float = Field(default=600, ge=1, le=86_400)
    max_files: int = Field(default=5, ge=0, le=20)
    file_limit: int = Field(default=5_000_000, ge=1, le=25_000_000, description="bytes of one file")
    body_limit: int = Field(default=12_000_000, ge=10_000, le=60_000_000, description="bytes of a submission")

    @model_validator(mode="after")
    def _distinct(self) -> FormConfig:
        names = [field.name for field in self.shown]
        if len(set(names)) < len(names):
            raise ValueError("two fields have the same name")
        taken = {*_RESERVED, self.trap_field} & set(names)
        if taken or self.trap_field in _RESERVED:
            raise ValueError(f"{', '.join(sorted(taken)) or self.trap_field} is a name that the form itself uses")
        return self

    @cached_property
    def shown(self) -> Sequence[FormField]:
        """The fields as they are asked for, in order."""
        return self.fields or DEFAULT_FIELDS

    def is_ours(self, name: str) -> bool:
        """A field that says nothing about the matter: of the form itself, of a site's framework, or a consent whose words we
        do not know."""
        plain = name.strip().lower()
        own = {*_RESERVED, self.trap_field.lower()}
        return not plain or plain in own or plain in _MACHINERY or _meaning(name) == "consent"

    def trusts(self, address: str) -> bool:
        """Whether the limit of an address does not hold for this one."""
        try:
            given = ip_address(address)
        except ValueError:
            return False
        plain = given.ipv4_mapped or given if isinstance(given, IPv6Address) else given
        return any(plain in ip_network(network) for network in self.trusted_addresses)

    def by_name(self, name: str) -> FormField | None:
        return next((field for field in self.shown if field.name == name), None)


class WalkInConfig(RepliesElsewhere):
    """Matters that an agent enters by hand."""

    reply_by_identities: bool = True


KINDS: tuple[str, ...] = get_args(Kind)
