"""Text that came from bytes goes back to them, and what never was bytes is escaped."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcss.host.text import ESCAPE_SURROGATES, is_encodable

ANY_TEXT = st.text(st.characters(codec=None, categories=None))


@given(st.binary())
def test_names_of_files_come_out_as_their_bytes(name: bytes) -> None:
    assert name.decode(errors="surrogateescape").encode(errors=ESCAPE_SURROGATES) == name


@given(ANY_TEXT)
def test_any_text_can_be_written(text: str) -> None:
    written = text.encode(errors=ESCAPE_SURROGATES)
    if is_encodable(text):
        assert written.decode(errors="surrogateescape") == text


@pytest.mark.parametrize(
    ("text", "encodable"), [("", True), ("é", True), ("\udc80", True), ("\ud800", False), ("a\0", False)]
)
def test_what_can_be_a_name(text: str, encodable: bool) -> None:
    assert is_encodable(text) is encodable


def test_other_surrogates_are_escaped() -> None:
    assert "a\ud800\udcffb".encode(errors=ESCAPE_SURROGATES) == b"a\\ud800\xffb"


def test_what_a_stream_wrote_can_be_read_back_from_it() -> None:
    with io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=ESCAPE_SURROGATES) as stream:
        stream.buffer.write(b"\x83\xb8 ok")
        stream.seek(0)
        assert stream.read() == r"\x83\xb8 ok"
