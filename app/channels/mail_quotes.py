"""Where a mail begins to quote another one: attribution lines, separator lines, header blocks, in many languages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SPAN_LINES = 6
_SPAN_CHARS = 500
_BLOCK_LINES = 8


@dataclass(frozen=True, slots=True)
class Quote:
    """Lines `start` to `end` (exclusive) announce a quote; `kind` is `attribution` (On ... wrote:) or `header`."""

    start: int
    end: int
    kind: str


_VERB = (
    r"(?:(?<!\w)(?:wrote|said|a\sécrit|schrieb|escribió|ha\sscritto|escreveu|schreef|geschreven|napisał(?:\(a\)|a)?|skrev"
    r"|kirjoitti|написала?(?:\(а\))?|пишет|yazdı|napsala?(?:\(a\))?|írta|a\sscris|đã\sviết)|写道|寫道|書きました|のメール|작성)"
)
_OPENING = r"(?:[-*]{2,}\s?)?(?:On|Le|Am|El|Il|In\sdata|Em|Op|Den|Dnia|W\sdniu|På|Dne|Pada|Vào|在|于)(?![a-zà-ÿ])"
# An attribution starts with one of the opening words and has a figure (a date), or with a date, or with `name <address`.
_STARTS_WELL = re.compile(rf"(?:{_OPENING}.{{0,400}}?\d|.{{0,40}}?\d{{4}}|(?!mailto:)[^<>@\d]{{2,80}}[<(].{{0,200}}@)")
_OPENS_WITH_DATE = re.compile(rf"{_OPENING}.{{0,100}}?\d")
_ENDS = re.compile(rf"{_VERB}(?:\s?[-*]{{0,8}}\s?[:：]|\s?-{{2,8}}|\s.{{2,200}}[:：])\s?[-*]{{0,8}}$")
# Without a verb: a date with a year, a time, and an address before the final colon.
_DATE_AND_ADDRESS = re.compile(
    r"(?=.{0,120}?\d{1,2}[:.h]\d{2})(?=.{0,120}?(?:19|20)\d{2}).{8,300}<[^<>]{3,200}@[^<>]{3,200}>{1,2}:$"
)
_DATED = re.compile(
    r"^(?:\d{4}[-/]\d{1,2}[-/]\d{1,2}\s\d{1,2}:\d{2}\s(?:GMT|UTC)[+-]\d{1,2}:?\d{2}\s\S.{0,200}"
    r"|\d{4}[-/]\d{1,2}[-/]\d{1,2}\s.{2,120}<[^<>\s]{1,200}@[^<>\s]{1,200}>:?)$"
)
_SEPARATOR = re.compile(
    r"""^[>*\s]*[-_]{3,}[\s*]*(?:
        original\s(?:message|e?-?mail) | reply\smessage | forwarded\smessage | forwarded\sby\b.{0,80}
      | ursprüngliche\s(?:nachricht|e-mail) | originalnachricht | weitergeleitete\snachricht
      | message\s(?:d['’]origine|original|transféré) | mensaje\s(?:original|reenviado)
      | mensagem\s(?:original|encaminhada) | messaggio\s(?:originale|inoltrato)
      | oorspronkelijk\sbericht | oprindelig\s(?:besked|meddelelse) | opprinnelig\smelding | ursprungligt\smeddelande
      | wiadomość\soryginalna | oryginalna\swiadomość | исходное\sсообщение | пересылаемое\sсообщение
      | 原始邮件 | 原始郵件 | 转发邮件信息 | 轉寄郵件 | 转发的邮件 | 原始信件 | 元のメッセージ
    )[\s:*]*[-_]{3,}[\s*]*$""",
    re.IGNORECASE | re.VERBOSE,
)
_FROM = re.compile(
    r"^[>*_\s]{0,20}(?:From|Von|De|Da|Od|Van|Fra|Från|Lähettäjä|Kimden|От|Message\sdu|发件人|寄件者|寄件人|差出人|보낸\s?사람)"
    r"[*_]{0,3}\s?[:：]",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"^[>*_\s]{0,20}(?:From|Sent|Date|To|Cc|Subject|Reply-To|Von|Gesendet|Datum|An|Betreff|De|Envoyé(?:\sle)?|À|A|Objet|Sujet"
    r"|Copie\sà|Enviado(?:\sel)?|Para|Asunto|Fecha|Assunto|Data|Inviato|Oggetto|Verzonden|Aan|Onderwerp|Wysłano|Do|Temat|Sendt"
    r"|Dato|Til|Emne|Skickat|Till|Ämne|Lähetetty|Vastaanottaja|Aihe|Отправлено|Дата|Кому|Тема|发送时间|发送日期|日期|收件人"
    r"|抄送|主题|主旨|收件者|寄件日期|送信日時|宛先|件名)[*_]{0,3}\s?[:：]",
    re.IGNORECASE,
)
_CODED_QUOTE = re.compile(r"^[A-Z]{0,3}>|^\|\s")


def is_quoted(line: str) -> bool:
    """`>`, `A>` as old programs wrote it, or a bar."""
    return bool(_CODED_QUOTE.match(line.lstrip()[:8])) or line.strip() == "|"


def first_quote(lines: Sequence[str]) -> Quote | None:
    """The first place where the rest of the mail is somebody else's, outside lines that are themselves quoted."""
    for place, line in enumerate(lines):
        found = _attribution_ending_at(lines, place) or _header_at(lines, place)
        if found is not None and line:
            return found
    return None


def _header_at(lines: Sequence[str], place: int) -> Quote | None:
    line = lines[place]
    if len(line) > 200:
        return None
    if _SEPARATOR.match(line):
        return Quote(place, place + 1, "header")
    if not _FROM.match(line) or is_quoted(line):
        return None
    fields = sum(bool(_FIELD.match(other[:200])) for other in lines[place + 1 : place + 1 + _BLOCK_LINES])
    return Quote(place, place + 1, "header") if fields >= 2 else None


def _attribution_ending_at(lines: Sequence[str], place: int) -> Quote | None:
    """An attribution may be wrapped: the fewest lines that make a whole one count."""
    last = lines[place]
    if not last or len(last) > _SPAN_CHARS:
        return None
    if _DATED.match(last):
        return Quote(place, place + 1, "attribution")
    if last[-1] not in ":：-*":
        return None
    span = ""
    used = 0
    for start in range(place, max(-1, place - 2 * _SPAN_LINES), -1):
        if not lines[start]:
            continue
        span = f"{lines[start].strip()} {span}".strip()
        used += 1
        if used > _SPAN_LINES or len(span) > _SPAN_CHARS:
            return None
        if _is_attribution(span) or _is_attribution(span.replace("> ", " ").lstrip("> ")):
            return Quote(_dated_start(lines, start), place + 1, "attribution")
        if not lines[start - 1] and start and not _continues(lines, start):
            return None
    return None


def _dated_start(lines: Sequence[str], start: int) -> int:
    """`On <date>,` may stand alone on the lines above `name <address> wrote:`."""
    for above in range(start - 1, max(-1, start - 4), -1):
        line = lines[above].strip()
        if not line or line[-1] in ".!?:" or len(line) > 120:
            break
        if _OPENS_WITH_DATE.match(line):
            return above
    return start


def _is_attribution(span: str) -> bool:
    return bool((_STARTS_WELL.match(span) and _ENDS.search(span)) or _DATE_AND_ADDRESS.match(span))


def _continues(lines: Sequence[str], start: int) -> bool:
    """Across a blank line only when what follows it is a torn address, as some programs leave it."""
    return lines[start].lstrip().startswith(("<", ">", "mailto:"))
