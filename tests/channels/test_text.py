"""The one place where text from outside is made fit for storing."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from app.channels import text

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_clean_text_can_be_stored(value: str) -> None:
    cleaned = text.clean(value)
    assert "\0" not in cleaned
    cleaned.encode()
    assert text.clean(cleaned) == cleaned


def test_clean_keeps_what_is_good() -> None:
    assert text.clean("a\0b\U0001f600 中文\r\n") == "ab\U0001f600 中文\r\n"
    assert text.clean("x\ud83d\ude00y\udc80") == "x\U0001f600y\ufffd"
    assert text.clean("abcdef", 3) == "abc"


@given(ANY_TEXT)
def test_keys_are_short_and_stay_different(value: str) -> None:
    long = value + "x" * 500
    found, other = text.key(long), text.key(long + "y")
    assert found is not None
    assert other is not None
    assert len(found) <= text.KEY_LIMIT
    assert found != other
    assert text.key(found) == found


def test_key_of_what_is_none() -> None:
    assert [text.key(value) for value in (None, "", "  ", True, 1.5, [1], {"a": 1})] == [None] * 7
    assert text.key(17) == "17"
    assert text.key(" a\0b ") == "ab"


def test_word() -> None:
    assert text.word("  two\n words\0 ") == "two words"
    assert text.word(5) == "5"
    assert [text.word(value) for value in (None, "", " \n ", True, [1], {"a": 1})] == [None] * 6


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | ANY_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
        max_leaves=10,
    )
)
def test_scrubbed_json_holds_nothing_that_postgres_refuses(value: object) -> None:
    scrubbed = orjson.dumps(text.scrub(value), option=orjson.OPT_PASSTHROUGH_DATACLASS) if _small(value) else b""
    assert b"\\u0000" not in scrubbed


def _small(value: object) -> bool:
    """orjson takes 64-bit integers only."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    if isinstance(value, dict):
        return all(_small(item) for item in value.values())
    return all(_small(item) for item in value) if isinstance(value, list) else True


def test_scrub_ends() -> None:
    deep: object = "bottom"
    for _ in range(5000):
        deep = [deep]
    assert "bottom" not in str(text.scrub(deep))


def test_file_names_stay_in_their_folder() -> None:
    assert text.file_name("../../etc/passwd", "f") == "passwd"
    assert text.file_name("C:\\temp\\bill.pdf", "f") == "bill.pdf"
    assert text.file_name("..", "f") == "f"
    assert text.file_name(None, "f") == "f"
    assert text.file_name('a"\r\nb\x7f.txt', "f") == 'a" b.txt'
    assert text.file_name("x" * 500 + ".pdf", "f").endswith(".pdf")


def test_media_types() -> None:
    assert text.media_type("Audio/OGG; codecs=opus") == "audio/ogg"
    for odd in (None, "", "text", "a/b/c", "text/", "/plain", "te xt/plain", "text/plä"):
        assert text.media_type(odd) == "application/octet-stream"
