"""Why a mail was not delivered: one word for what mailers say in codes and in prose. Pure, a table of patterns."""

from __future__ import annotations

import re
from enum import StrEnum


class Reason(StrEnum):
    """ADDRESS: there is no such person or host there, or not any more. FULL, SIZE: no room for it. REFUSED: it was not
    wanted (policy, spam, reputation, a filter, a suspended mailbox). SYSTEM: a mailer is broken. EXPIRED: given up after
    trying for long. DELAYED: still being tried."""

    ADDRESS = "address"
    FULL = "full"
    SIZE = "size"
    REFUSED = "refused"
    SYSTEM = "system"
    EXPIRED = "expired"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    COMPLAINT = "complaint"
    OTHER = "other"


PERMANENT = frozenset({Reason.ADDRESS})
SCANNED = 8_000

_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(r"(?<![\d.:])([45]\d\d)(?=[\s\-#;,]|$)(?![.\d])")


def _any(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


# The first that fits counts. Prose is surer than codes: mailers answer 550 5.1.1 to everything.
_PROSE: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    (Reason.DELAYED, _any(
        r"will\scontinue\sto\stry", r"still\strying", r"warning\smessage\sonly", r"delivery\sdelayed", r"has\sbeen\sdelayed",
        r"do\snot\sneed\sto\sresend", r"weitere\szustellversuche",
    )),
    (Reason.FULL, _any(
        r"mailbox\s(?:is\s|size\s|quota\s|storage\s)?(?:full|limit|exceed|over)", r"(?:over|exceed\w*|out\sof)\s(?:the\s|its\s|his\s|storage\s|disk\s|their\s|allowed\s|mailbox\s){0,3}(?:quota|storage|space)",
        r"quota\s(?:is\s|has\sbeen\s)?(?:exceeded|full|reached|over)", r"insufficient\s(?:system\s)?(?:storage|disk)", r"not\senough\s(?:storage|space|disk)",
        r"mailbox\sexceed", r"mailfolder\sis\sfull", r"inbox\sis\sfull", r"user\sis\sover\s(?:the\s)?quota", r"boîte\s.{0,30}pleine", r"postfach\s.{0,20}voll",
        r"buzón\slleno", r"容量", r"メールボックス.{0,20}(?:一杯|超)", r"邮箱.{0,6}满", r"空间不足", r"storage\sallocation", r"maildir\sover\squota", r"disk\squota",
    )),
    (Reason.SIZE, _any(
        r"size\slimit\sexceeded", r"message\s(?:size|is)\s(?:is\s)?(?:too\s(?:big|large)|exceeds)", r"message\ssize\sexceeds", r"too\s(?:big|large)\s(?:message|mail)", r"maximum\s(?:message|mail)\ssize",
        r"size\sof\s(?:the|this)\smessage\sexceeds", r"message\stoo\s(?:big|large)", r"exceeds?\s(?:the\s)?(?:maximum|size|fixed\smaximum)", r"mail\s(?:is\s)?too\s(?:big|large)",
    )),
    (Reason.REFUSED, _any(
        r"spam", r"blacklist", r"black\slist", r"block\s?list", r"\bRBL\b", r"\bDNSBL\b", r"reputation", r"\bSPF\b", r"\bDKIM\b", r"\bDMARC\b", r"sender\spolicy",
        r"too\smany\s(?:connections|messages|recipients|errors|concurrent)", r"rate\s?limit", r"throttl", r"frequency\slimit", r"connection\sfrequency", r"greylist", r"grey-list",
        r"(?:has\sbeen|is|are|was|been)\s(?:temporarily\s)?block(?:ed|ing)", r"\bblocked\b", r"policy", r"(?:access|relay\w*|permission)\s(?:\w+\s)?denied", r"not\spermitted", r"prohibited",
        r"relaying\snot\sallowed", r"unable\sto\srelay", r"not\sauthorized", r"unauthenticated", r"authenticat", r"banned", r"virus", r"malware", r"content\sreject", r"suspicious",
        r"(?:account|mailbox|user|recipient|address)\s(?:\S{1,60}\s)?(?:has\sbeen\s|is\s|was\s|that\syou\stried\sto\sreach\sis\s)?(?:suspended|disabled|inactive|deactivated|locked)",
        r"reject(?:ed|s)?\s(?:by|your|because|due|message|mail|for)", r"sender\s(?:\S{1,80}\s)?(?:address\s)?reject", r"not\saccept(?:ed|ing)?\s(?:mail|message|by)", r"due\sto\s(?:\w+\s)?filter",
        r"domain\sof\ssender", r"sender\sdomain", r"domain\sdoes\snot\s(?:exist|resolve)\W+.{0,30}sender", r"\bfrom\saddress", r"members?\s(?:only|of\sth(?:e|is)\s(?:group|mailing))", r"投稿する権限", r"permission\sto\spost", r"may\snot\shave\spermission",
        r"filter(?:ed|ing)?\b", r"refused\sto\stalk", r"frozen", r"not\sallowed", r"reverse\sdns", r"\bPTR\b", r"does\snot\swant", r"not\swilling\sto\saccept", r"拒绝|拒信|拒收|被拦截|频率|垃圾邮件",
    )),
    (Reason.EXPIRED, _any(r"cannot\ssend\smessage\sfor\s\d", r"retry\stime(?:out)?\sexceeded", r"undeliver\w*\s(?:for|after)\s\d", r"message\s(?:has\s)?expired")),
    (Reason.SYSTEM, _any(r"could(?:n't|\snot)\s(?:create|open|write)", r"can['’]?not\s(?:create|open|write)")),
    (Reason.ADDRESS, _any(
        r"(?:user|recipient|mailbox|address|account|alias|addressee|subscriber|member)\w*\s(?:\S{1,80}\s)?(?:is\s|was\s|name\sis\s|address\sis\s)?(?:unknown|not\s(?:known|found|exist)|invalid|unavailable|nonexist|non-exist|no\slonger|not\slisted|not\sa\svalid|not\svalid)",
        r"(?:unknown|invalid|no\ssuch|bad\sdestination|non-?existent|unrouteable|unroutable)\s(?:\w+\s)?(?:user|recipient|mailbox|address|account|alias|person|local\spart|domain|host)",
        r"domain\sis\snot\sreachable", r"no\svalid\srecipients", r"does(?:n't|\snot)\sexist", r"do\snot\sexist", r"no\s(?:mailbox|account|user|one)\s(?:here|by|with|of|named|found)", r"recipient\saddress\srejected", r"recipient\srejected", r"not\sa\sknown\suser",
        r"not\slisted\sin\s(?:domino|public|our|the)", r"host\s(?:or\sdomain\sname\s)?(?:\S{1,80}\s)?(?:unknown|not\sfound)", r"domain\s(?:\S{1,80}\s)?(?:not\sfound|does\snot\sexist)", r"no\smx", r"has\sno\smail\sexchanger",
        r"user\sunknown", r"unknown\suser", r"mailbox\sunavailable", r"no\slonger\s(?:valid|active|in\suse|works?|with|available|being|accept)", r"has\smoved", r"name\sor\sservice\snot\sknown", r"nxdomain",
        r"couldn['’]t\sbe\sfound", r"could\snot\sbe\sfound", r"wasn['’]t\sfound", r"address\s(?:\S{1,80}\s)?not\sfound", r"cannot\sfind\s(?:your\s)?recipient", r"RecipNotFound", r"RecipientNotFound", r"ResolverADR", r"not\sour\scustomer",
        r"無効|存在しない|見つかりません|不存在|没有该用户|无此用户|未知|n['’]existe\spas|unbekannt|existiert\snicht|no\sexiste|não\sexiste|niet\sbekend|sconosciuto|inesistente",
    )),
    (Reason.EXPIRED, _any(
        r"(?:retry|delivery|queue)\s(?:time\s?out|time|period)\s(?:\w+\s){0,2}(?:exceeded|expired)", r"could\snot\sbe\sdelivered\s(?:for|within)", r"too\slong\sin\s(?:the\s)?queue", r"deferred\s", r"cannot\ssend\smessage\s(?:for|within)\s\d",
        r"not\sbeen\sable\sto\sdeliver\s.{0,60}(?:hours|days)", r"giving\sup\safter", r"expired",
    )),
    (Reason.SYSTEM, _any(
        r"too\smany\shops", r"mail\sloop", r"loop(?:s\sback|ing|\sdetected)", r"hop\scount", r"command\s(?:unrecognized|not)", r"bad\ssequence", r"syntax\serror", r"valid\srcpt\scommand", r"out\sof\smemory", r"i/o\serror",
        r"can['’]?not\s(?:create|open|write)", r"command\stime\slimit", r"connection\s(?:refused|timed\sout|reset|lost|dropped)", r"network\s(?:is\s)?unreachable", r"no\sroute\sto", r"unknown\smailer\serror", r"exit\s(?:status|code)",
        r"internal\s(?:server\s)?error", r"configuration\serror", r"service\s(?:not\savailable|unavailable)",
    )),
)  # fmt: skip

_BY_STATUS: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    (Reason.ADDRESS, re.compile(r"5\.1\.(?:0|1|2|3|4|6|10)$|5\.4\.4$|5\.0\.911$")),
    (Reason.FULL, re.compile(r"[45]\.2\.2$|[45]\.3\.1$")),
    (Reason.SIZE, re.compile(r"5\.(?:2\.3|3\.4)$")),
    (Reason.REFUSED, re.compile(r"[45]\.7\.\d+$|5\.1\.[78]$|[45]\.2\.[01]$|5\.6\.\d+$")),
    (Reason.SYSTEM, re.compile(r"5\.(?:3|4|5)\.\d+$")),
    (Reason.EXPIRED, re.compile(r"4\.4\.\d+$|4\.0\.947$")),
)


def enhanced(text: str) -> str | None:
    """The first `X.Y.Z` status."""
    found = _ENHANCED.search(text[:SCANNED])
    return found[1] if found else None


def reply_code(text: str) -> str | None:
    """The first SMTP reply of three digits."""
    found = _REPLY.search(text[:SCANNED])
    return found[1] if found else None


def reason_of(said: str, *, status: str | None = None) -> Reason:
    """By the words, else by the status."""
    said = " ".join(said[:SCANNED].split())
    status = status or enhanced(said)
    for reason, pattern in _PROSE:
        if pattern.search(said):
            return reason
    for reason, pattern in _BY_STATUS:
        if status and pattern.match(status):
            return reason
    return Reason.OTHER
