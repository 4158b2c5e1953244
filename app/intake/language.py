"""The language of a text, where its script alone tells (pure)."""

import re

_LOOKED_AT = 1_000  # characters: who writes more has said it by then
# Single letters are decoration (kΩ, の, kaomoji); one Chinese or Korean character is a word. What Arabic does not have
# is Persian, Urdu, Kurdish or another language written like it.
_LETTERS = re.compile(
    "(?P<zh>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+)"
    "|(?P<ja>[\u3041-\u3096\u30a1-\u30fa\u30fc\uff66-\uff9d]{2,})"
    "|(?P<ko>[\uac00-\ud7a3]+)"
    "|(?P<th>[\u0e01-\u0e3a\u0e40-\u0e4e]{2,})"
    "|(?P<he>[\u05d0-\u05ea]{2,})"
    "|(?P<el>[\u0370-\u0373\u0386-\u03ff\u1f00-\u1fff]{2,})"
    "|(?P<ar>[\u0621-\u0652\u066e-\u06d3]{2,})"
)
_NOT_ARABIC = re.compile("[\u0671-\u06d3]")


def by_script(text: str) -> str | None:
    """`zh`, `ja`, `ko`, `th`, `he`, `el` or `ar`; None where the script is that of many languages (Latin, Cyrillic) or
    the text has several that are not written together."""
    if text.isascii():
        return None
    found: set[str | None] = set()
    for word in _LETTERS.finditer(text[:_LOOKED_AT]):
        found.add(word.lastgroup)
        if word.lastgroup == "ar" and _NOT_ARABIC.search(word.group()):
            return None
    if "ja" in found:
        found.discard("zh")  # Japanese is written with both
    return found.pop() if len(found) == 1 else None
