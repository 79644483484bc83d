"""Several images one behind the other as one device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcss.errors import Ext2FormatError
from dcss.ext2.source import BufferSource
from dcss.image.joined_source import JoinedSource


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5), st.integers(0, 45), st.integers(0, 45))
def test_reads_are_those_of_the_bytes_one_behind_the_other(parts: list[bytes], offset: int, length: int) -> None:
    whole = b"".join(parts)
    source = JoinedSource([BufferSource(part) for part in parts])
    assert source.size_bytes == len(whole)
    if offset + length <= len(whole):
        assert bytes(source.bytes_at(offset, length)) == whole[offset : offset + length]
    else:
        with pytest.raises(Ext2FormatError, match="outside the device"):
            source.bytes_at(offset, length)


def test_borders_are_where_one_part_ends_and_the_next_begins() -> None:
    parts = [BufferSource(bytes(size_bytes)) for size_bytes in (4, 1, 7)]
    assert JoinedSource(parts).borders == (4, 5)
    assert JoinedSource(parts[:1]).borders == ()
