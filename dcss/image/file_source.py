"""An image in a file, read by calls: a load from a mapping of a file that gets shorter would be answered by SIGBUS."""

import os
from collections import OrderedDict
from errno import ENODEV

from dcss.errors import Ext2FormatError, StaleReferenceError

_PIECE_BYTES = 64 << 10
_KEPT_PIECES = 64


class FileSource:
    """A dcss.ext2.source.BlockSource over the file behind `descriptor`, which stays the caller's, from `first_byte` on.

    The pieces read last are kept, as most reads are small and near others. After `close` reads raise
    StaleReferenceError.
    """

    def __init__(self, descriptor: int, first_byte: int = 0) -> None:
        self._descriptor = descriptor
        self.first_byte = first_byte
        file_size_bytes = os.lseek(descriptor, 0, os.SEEK_END)  # of a block device too, whose st_size is 0
        self.size_bytes = max(0, file_size_bytes - first_byte)
        self._pieces: OrderedDict[int, memoryview] = OrderedDict()

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes at byte `offset`. Raises Ext2FormatError where the file has no such range."""
        if self._descriptor < 0:
            raise StaleReferenceError(ENODEV, "this image is closed")
        if not 0 <= offset <= offset + length <= self.size_bytes:
            raise Ext2FormatError(
                f"read outside the image: found offset {offset}, length {length}, wanted a range inside its"
                f" {self.size_bytes} bytes; the image is damaged or cut short"
            )
        number, start = divmod(offset, _PIECE_BYTES)
        if start + length > _PIECE_BYTES:
            return self._read(offset, length)
        piece = self._pieces.get(number)
        if piece is None:
            first = number * _PIECE_BYTES
            piece = self._pieces[number] = self._read(first, min(_PIECE_BYTES, self.size_bytes - first))
            if len(self._pieces) > _KEPT_PIECES:
                self._pieces.popitem(last=False)
        else:
            self._pieces.move_to_end(number)
        return piece[start : start + length]

    def cut(self, size_bytes: int) -> None:
        """Let the source end after `size_bytes`, where it is longer."""
        self.size_bytes = min(self.size_bytes, size_bytes)
        self._pieces.clear()

    def close(self) -> None:
        """Drop what is kept. The descriptor stays open."""
        self._descriptor = -1
        self._pieces.clear()

    def _read(self, offset: int, length: int) -> memoryview:
        data = bytearray(length)
        view, done = memoryview(data), 0
        while done < length:
            try:
                part = os.preadv(self._descriptor, [view[done:]], self.first_byte + offset + done)
            except OSError as error:
                raise Ext2FormatError(
                    f"the image cannot be read at offset {offset + done}: {error.strerror}"
                ) from error
            if not part:
                wanted = self.first_byte + self.size_bytes
                found = f"found {os.fstat(self._descriptor).st_size} bytes, wanted {wanted}"
                raise Ext2FormatError(f"the image got shorter while it was read: {found}")
            done += part
        return view.toreadonly()
