"""Several images one behind the other as one device, as dcssblk joins segments that adjoin."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from dcss.errors import Ext2FormatError
from dcss.ext2.source import BlockSource


class JoinedSource:
    """A dcss.ext2.source.BlockSource over `parts`, in their order; they stay the caller's."""

    def __init__(self, parts: Sequence[BlockSource]) -> None:
        self._parts = parts
        ends = list(accumulate(part.size_bytes for part in parts))
        self._starts = [0, *ends[:-1]]
        self.size_bytes = ends[-1]

    @property
    def borders(self) -> tuple[int, ...]:
        """The bytes at which one part ends and the next one begins."""
        return tuple(self._starts[1:])

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes at byte `offset`; a copy where they lie in several parts. Raises Ext2FormatError."""
        if not 0 <= offset <= offset + length <= self.size_bytes:
            raise Ext2FormatError(
                f"read outside the device: found offset {offset}, length {length}, wanted a range inside its"
                f" {self.size_bytes} bytes; the image is damaged or cut short"
            )
        pieces: list[memoryview] = []
        place = bisect_right(self._starts, offset) - 1
        while length or not pieces:
            part, start = self._parts[place], self._starts[place]
            here = min(length, start + part.size_bytes - offset)
            pieces.append(part.bytes_at(offset - start, here))
            offset, length, place = offset + here, length - here, place + 1
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
