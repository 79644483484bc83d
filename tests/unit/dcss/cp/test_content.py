"""Which contents are zeros alone."""

import hashlib

from cp_support import define

from dcss.cp.segments.content import is_blank


def test_a_content_is_blank_by_its_types_or_its_digest() -> None:
    size_bytes = 3 * (1 << 20) + 4096
    readable = define("LIB", "20000-20300 SR")
    blank = hashlib.sha256(bytes(size_bytes)).hexdigest()
    assert is_blank(readable, blank)
    assert not is_blank(readable, hashlib.sha256(bytes(size_bytes - 1) + b"x").hexdigest())
    assert not is_blank(readable, hashlib.sha256(bytes(4096)).hexdigest())
    assert not is_blank(readable, None)
    unreadable = define("WORK", "20000-2000F SN")
    assert is_blank(unreadable, None)
    assert is_blank(unreadable, "whatever")
