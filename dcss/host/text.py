"""Text that came from bytes: which of it goes back to bytes, and an error handler that writes the rest as escapes."""

import codecs
import os
import time
from datetime import UTC, datetime
from functools import lru_cache

ESCAPE_SURROGATES = "dcss.escape"  # for errors= of str.encode and of streams


def is_encodable(text: str) -> bool:
    """Return True if `text` can be the name of a file or an argument: no NUL, and no surrogate that is no byte."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


@lru_cache(maxsize=1 << 12)  # guests start together, and each look at a system shows the same times again
def iso_utc(seconds: int) -> str:
    """Return an instant of the wall clock as ISO 8601 writes it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_now() -> str:
    """Return this instant of the wall clock as ISO 8601 writes it, in UTC and whole seconds."""
    return iso_utc(int(time.time()))


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what os.fsdecode made of bytes as those bytes, and any other surrogate as an escape.

    Who reads back what such a stream wrote, as pytest does, meets bytes that are no text: they become escapes.
    """
    if not isinstance(error, UnicodeEncodeError):
        return codecs.lookup_error("backslashreplace")(error)
    part = error.object[error.start : error.end]
    return b"".join(_encoded(character) for character in part), error.end


def _encoded(character: str) -> bytes:
    code = ord(character)
    return bytes((code - 0xDC00,)) if 0xDC80 <= code <= 0xDCFF else character.encode(errors="backslashreplace")


codecs.register_error(ESCAPE_SURROGATES, _escape)
