"""HTML of a mail to plain text, in one pass over its tags.

No tree is built: repairing tag soup into a tree takes quadratic time on hostile nesting (half a megabyte of `<div>` kept
a tree parser busy for 21 s), and text needs no tree.
"""

import html
import re
from dataclasses import dataclass, field

HTML_LIMIT = 2_000_000
_DEPTH_LIMIT = 10
_STACK_LIMIT = 500
_LINE_LIMIT = 20_000

_SKIPPED = ("script", "style", "title", "template", "svg", "math", "object", "noframes", "select", "textarea")
_PARAGRAPHS = frozenset({"p", "ul", "ol", "dl", "table", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "hr"})
_BLOCKS = frozenset({"div", "tr", "li", "dt", "dd", "address", "article", "section", "header", "footer", "center", "form", "body", "html", "head", "thead", "tbody", "tfoot", "caption", "figure", "main", "nav", "aside", "fieldset", "br"})  # fmt: skip
_BOXES = frozenset({"div", "blockquote", "span", "table", "td", "section"})
_TAG = re.compile(r"(/?)([a-zA-Z][a-zA-Z0-9:_-]{0,40})")
_ATTRIBUTE = re.compile(r"([a-zA-Z_:][-\w:.]{0,60})\s{0,20}=\s{0,20}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>`]+))")
_QUOTE_CLASS = re.compile(r"(?:^|\s)(?:gmail_quote|gmail_extra|yahoo_quoted|moz-cite-prefix|moz-forward-container|protonmail_quote|tutanota_quote|zmail_extra|mailplausible_quote|ms-outlook-mobile-reference-message|quoted)(?:$|\s|_)", re.IGNORECASE)  # fmt: skip
_REST_IDS = frozenset(
    {"divrplyfwdmsg", "olk_src_body_section", "appendonsend", "mail-editor-reference-message-container", "reply-intro"}
)
_OUTLOOK_RULE = re.compile(
    r"border-top:\s*solid\s+#?(?:b5c4df|e1e1e1)\s+1\.0pt|border:none;\s*border-top:\s*solid", re.IGNORECASE
)
_SPACES = re.compile(r"[ \t\r\n\f\v]+")


@dataclass
class _Page:
    """Lines so far. `own` are those that no mark of a mail program calls a quote."""

    lines: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    line: str = ""
    boxes: list[tuple[str, bool]] = field(default_factory=list)
    cited: int = 0
    depth: int = 0
    pre: int = 0
    rest: bool = False
    link: tuple[str, int] | None = None

    def write(self, text: str) -> None:
        if self.pre:
            first, *more = text.split("\n")
            self.line += first
            for line in more:
                self.end_line()
                self.line = line
            return
        text = _SPACES.sub(" ", text)
        if not self.line or self.line.endswith(" "):
            text = text.lstrip(" ")
        self.line += text
        if len(self.line) > _LINE_LIMIT:
            self.end_line()

    def end_line(self, *, always: bool = True) -> None:
        """Finish the line; without `always` only one that has something on it."""
        line = self.line.replace("\xa0", " ").rstrip()
        if line or always:
            self.lines.append("> " * min(self.depth, _DEPTH_LIMIT) + line)
            if not self.rest and not self.cited:
                self.own.append(self.lines[-1])
        self.line = ""

    def gap(self) -> None:
        """A blank line between paragraphs, never two."""
        self.end_line(always=False)
        for lines in (self.lines, self.own):
            if lines and lines[-1].strip("> "):
                lines.append("> " * min(self.depth, _DEPTH_LIMIT) if lines is self.lines else "")


def to_text(source: str) -> tuple[str, str]:
    """`(everything, without what a mail program has marked as a quote)`. Links keep their target in brackets."""
    source = source[:HTML_LIMIT]
    page, place, length = _Page(), 0, len(source)
    unclosed: set[str] = set()
    while place < length:
        opened = source.find("<", place)
        if opened < 0:
            break
        page.write(html.unescape(source[place:opened]))
        place = _element(source, opened, page, unclosed)
    page.write(html.unescape(source[place:]))
    page.end_line(always=False)
    return _tidy(page.lines), _tidy(page.own)


def _element(source: str, opened: int, page: _Page, unclosed: set[str]) -> int:
    """Handle what starts at `<`; returns where to go on. `unclosed` remembers what was searched for in vain."""
    if source.startswith("<!--", opened):
        end = -1 if "-->" in unclosed else source.find("-->", opened + 4)
        if end >= 0:
            return end + 3
        unclosed.add("-->")
        return opened + 4
    tag = _TAG.match(source, opened + 1)
    declared = source[opened + 1 : opened + 2] in ("!", "?")
    end = -1 if ">" in unclosed or not (tag or declared) else tag_end(source, opened + 1)
    if end < 0:
        if tag or declared:
            unclosed.add(">")
        page.write("<")
        return opened + 1
    if tag is None:
        return end + 1
    closing, name = bool(tag[1]), tag[2].lower()
    if name in _SKIPPED and not closing:
        return element_end(source, name, end + 1, unclosed)
    if closing:
        _close(page, name)
    else:
        _open(page, name, source[tag.end() : min(end, tag.end() + 4_000)])
    return end + 1


def tag_end(source: str, start: int) -> int:
    """The `>` that ends a tag; one inside a quoted value is passed over, within reason."""
    end = source.find(">", start)
    for _ in range(3):
        if end < 0 or end - start > 10_000 or source.count('"', start, end) % 2 == 0:
            return end
        further = source.find('"', end, end + 2_000)
        if further < 0:
            return end
        end = source.find(">", further)
    return end


def element_end(source: str, name: str, start: int, unclosed: set[str]) -> int:
    """Past the end of an element whose content is no text; one that never ends is only its own tag."""
    if name in unclosed:
        return start
    end = re.compile(f"</{name}", re.IGNORECASE).search(source, start)
    if end is None:
        unclosed.add(name)
        return start
    return source.find(">", end.end()) + 1 or len(source)


def _attributes(source: str) -> dict[str, str]:
    return {
        found[1].lower(): html.unescape(found[2] or found[3] or found[4] or "") for found in _ATTRIBUTE.finditer(source)
    }


def _open(page: _Page, name: str, source: str) -> None:
    attributes = _attributes(source) if source.strip() else {}
    if name == "br":
        page.end_line()
        return
    if name in _PARAGRAPHS:
        page.gap()
    elif name in _BLOCKS:
        page.end_line(always=False)
    if name in _BOXES and not source.rstrip().endswith("/"):
        _open_box(page, name, attributes)
    if name == "li":
        page.write("- ")
    elif name in ("td", "th"):
        page.write(" ")
    elif name == "pre":
        page.pre += 1
    elif name == "img" and attributes.get("alt"):
        page.write(f"[{attributes['alt'][:200]}]")
    elif name == "a" and (target := attributes.get("href", "").strip()).startswith(("http://", "https://", "mailto:")):
        page.link = (target, len(page.line))


def _open_box(page: _Page, name: str, attributes: dict[str, str]) -> None:
    if attributes.get("id", "").lower() in _REST_IDS or (
        name == "div" and _OUTLOOK_RULE.search(attributes.get("style", "")[:500])
    ):
        page.end_line(always=False)
        page.rest = True
    cited = bool(_QUOTE_CLASS.search(attributes.get("class", ""))) or (
        name == "blockquote" and attributes.get("type", "").lower() == "cite"
    )
    if len(page.boxes) < _STACK_LIMIT:
        page.boxes.append((name, cited))
        page.cited += cited
        page.depth += name == "blockquote"


def _close(page: _Page, name: str) -> None:
    if name == "a" and page.link is not None:
        _close_link(page)
    elif name == "pre":
        page.pre = max(0, page.pre - 1)
    if name in _PARAGRAPHS:
        page.gap()
    elif name in _BLOCKS:
        page.end_line(always=False)
    if name in _BOXES:
        _close_box(page, name)


def _close_box(page: _Page, name: str) -> None:
    """Close the nearest open box of that name and whatever was left open inside it."""
    for place in range(len(page.boxes) - 1, max(-1, len(page.boxes) - 50), -1):
        if page.boxes[place][0] == name:
            for opened, cited in page.boxes[place:]:
                page.cited -= cited
                page.depth -= opened == "blockquote"
            del page.boxes[place:]
            return


def _close_link(page: _Page) -> None:
    assert page.link is not None
    target, start = page.link
    page.link = None
    shown = page.line[start:].strip()
    bare = target.removeprefix("mailto:").rstrip("/")
    if shown and bare.removeprefix("https://").removeprefix("http://") not in shown.rstrip("/"):
        page.write(f" <{bare[:1_000]}>")


def _tidy(lines: list[str]) -> str:
    """At most one blank line in a row."""
    kept: list[str] = []
    for line in lines:
        if line.strip("> ") or (kept and kept[-1].strip("> ")):
            kept.append(line.rstrip())
    return "\n".join(kept).strip("\n")
