"""Bytes of a mail to text, whatever their label says."""

import codecs
import re

from charset_normalizer import from_bytes

_SAMPLE = 32_000

# Labels that are wrong or too narrow in practice, each with the superset that reads what is really sent.
_ALIASES = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "chinese": "gb18030",
    "hz-gb-2312": "hz",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601-1989": "cp949",
    "ksc5601": "cp949",
    "euc-kr": "cp949",
    "iso-8859-1": "windows-1252",
    "iso8859-1": "windows-1252",
    "iso_8859-1": "windows-1252",
    "latin1": "windows-1252",
    "latin-1": "windows-1252",
    "iso-2022-jp": "iso2022_jp_ext",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso-8859-8",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-greek": "mac_greek",
    "unicode-1-1-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-8mb4": "utf-8",
    "cp-850": "cp850",
}
# No claim at all: senders that do not know, or that put 8-bit text under the label of ASCII.
_NO_CLAIM = frozenset(
    {
        "",
        "us-ascii",
        "ascii",
        "ansi_x3.4-1968",
        "x-unknown",
        "unknown",
        "unknown-8bit",
        "binary",
        "8bit",
        "default",
        "none",
    }
)
# Codecs of Python that are no charsets of a mail, and one that takes quadratic time.
_REFUSED = frozenset({"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
_ISO_2022 = re.compile(rb"\x1b\$(?:\([CD]|[@B]|\)C)")


def decode(data: bytes, declared: str | None = None) -> str:
    """Never fails: the declared charset, UTF-8, what statistics say, and in the end replacement characters."""
    data = _without_bom(data)
    return data.decode(charset_of(data, declared), errors="replace")


def charset_of(data: bytes, declared: str | None = None) -> str:
    """The codec to read `data` with."""
    label = (declared or "").strip().strip("\"'").lower()
    for name in _candidates(label, data):
        try:
            data.decode(name)
        except (UnicodeError, ValueError):
            continue
        return name
    return _detected(data) or "utf-8"


def _without_bom(data: bytes) -> bytes:
    return data[3:] if data.startswith(codecs.BOM_UTF8) else data


def _candidates(label: str, data: bytes) -> list[str]:
    if label in _NO_CLAIM:
        if _ISO_2022.search(data, 0, _SAMPLE):
            return ["iso2022_kr" if b"\x1b$)C" in data[:_SAMPLE] else "iso2022_jp_ext", "utf-8"]
        return ["utf-8"]
    name = _ALIASES.get(label, label)
    if name == "windows-1252":
        return [name, "iso-8859-1"]
    return [name, "utf-8"] if _is_charset(name) else ["utf-8"]


def _is_charset(name: str) -> bool:
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    # base64, zip and their like are codecs as well, from bytes to bytes.
    return bool(getattr(found, "_is_text_encoding", True)) and found.name.replace("-", "_") not in _REFUSED


def _detected(data: bytes) -> str | None:
    best = from_bytes(data[:_SAMPLE]).best()
    return best.encoding if best is not None else None
