"""Copy file content into an image: adjacent blocks are written together, through a buffer of fixed size.

Large files are not copied where a file system can let both files share blocks, as btrfs and XFS do.
"""

import fcntl
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BufferedReader
from struct import Struct
from threading import Event, Lock, Thread
from typing import Final, NamedTuple

from dcss.errors import ImageError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES
from dcss.ext2.mkfs.tree import DataRun, FileStore, Store, StreamStore, TreeFile

_BUFFER_BYTES: Final = 1 << 20
_LARGE_BYTES: Final = 128 << 10  # from here on blocks are shared where they can be
_FILE_COST_BYTES: Final = 20_000  # opening a file takes as long as copying this much
_PART_BYTES: Final = 4 << 20
_WORTH_A_THREAD_PARTS: Final = 4
_SWITCH_SECONDS: Final = 0.0002  # so long a thread waits for the interpreter after each call, a few for a file
_FICLONERANGE: Final = 0x4020940D  # include/uapi/linux/fs.h; the module fcntl has it from Python 3.12 on
_FILE_CLONE_RANGE: Final = Struct("=qQQQ")  # descriptor of the source, offset there, length, offset in the target
_ENDED_EARLY: Final = "a compressed archive ended early: it changed, or is cut short; build the image again"

ProgressFunction = Callable[[int], None]


class Transfer(NamedTuple):
    """A copy of bytes from an offset of a store to an offset of the image."""

    image_offset: int
    store: Store
    source_offset: int
    length_bytes: int


class ImageWindow(NamedTuple):
    """Bytes `start` up to `end` of an image, which go to the front of the file behind `fd`, a segment's for example."""

    fd: int
    start: int
    end: int

    def write(self, content: bytes | memoryview, offset: int) -> None:
        """Write what lies inside of `content`, which belongs at `offset` of the image. Raises ImageError."""
        low, high = max(offset, self.start), min(offset + len(content), self.end)
        if low < high:
            _write_all(self.fd, memoryview(content)[low - offset : high - offset], low - self.start)

    def clip(self, wanted: Iterable[Transfer]) -> Iterator[Transfer]:
        """Yield what lies inside of each copy."""
        for transfer in wanted:
            at, store, source_offset, length = transfer
            low, high = max(at, self.start), min(at + length, self.end)
            if high - low == length:
                yield transfer
            elif low < high:
                yield Transfer(low, store, source_offset + low - at, high - low)


def transfers(file: TreeFile, runs: Sequence[BlockRun]) -> Iterable[Transfer]:
    """Return the copies that fill a file whose data lies in `runs`."""
    if len(runs) == 1 and len(file.data) == 1:
        (file_block, disk_block, _), (file_offset, source_offset, length) = runs[0], file.data[0]
        at = disk_block * BLOCK_SIZE_BYTES + file_offset - file_block * BLOCK_SIZE_BYTES
        return (Transfer(at, file.store, source_offset, length),)
    return _cut(file.store, file.data, runs)


def _cut(store: Store, data: Sequence[DataRun], runs: Sequence[BlockRun]) -> Iterable[Transfer]:
    number = 0
    for file_offset, source_offset, length in data:
        done = 0
        while done < length:
            start = file_offset + done
            while start >= (runs[number].file_block + runs[number].blocks) * BLOCK_SIZE_BYTES:
                number += 1
            run = runs[number]
            inside = start - run.file_block * BLOCK_SIZE_BYTES
            here = min(length - done, run.blocks * BLOCK_SIZE_BYTES - inside)
            yield Transfer(run.disk_block * BLOCK_SIZE_BYTES + inside, store, source_offset + done, here)
            done += here


class Copier:
    """Copies into `window`, whose file must read as zeros wherever nothing is written; all copies lie inside.

    `turn` is held during each write: the kernel lets one thread at a time write to a file, and others that it keeps
    waiting use their processor meanwhile.
    """

    def __init__(
        self, window: ImageWindow, progress: ProgressFunction | None, turn: AbstractContextManager[object] | None = None
    ) -> None:
        self._window = window
        self._progress = progress
        self._turn = turn or nullcontext()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = 0  # where in the image the buffer belongs
        self._filled = 0
        self._content = 0  # of what is in the buffer, the bytes that are not padding

    def copy_files(self, wanted: Sequence[Transfer], stop: Event | None = None) -> None:
        """Copy, in order of the image, from stores that can be read at any offset, until done or `stop` is set."""
        opened: FileStore | None = None
        source = -1
        try:
            for image_offset, store, source_offset, length in wanted:
                if store is not opened:
                    if stop is not None and stop.is_set():
                        return
                    if source >= 0:
                        os.close(source)
                        source, opened = -1, None
                    assert not isinstance(store, StreamStore)
                    source, opened = store.open(), store
                self._seek(image_offset)
                done = self._share(source, source_offset, length) if length >= _LARGE_BYTES else 0
                self._read(source, source_offset + done, length - done)
            self._flush()
        finally:
            if source >= 0:
                os.close(source)

    def copy_stream(self, store: StreamStore, wanted: list[Transfer]) -> None:
        """Copy from one stream, front to back."""
        wanted.sort(key=lambda transfer: transfer.source_offset)
        with store.open_stream() as stream:
            at = 0
            for image_offset, _, source_offset, length in wanted:
                skip(stream, source_offset - at)
                self._seek(image_offset)
                self._read_stream(stream, length)
                at = source_offset + length
            self._flush()

    def _seek(self, image_offset: int) -> None:
        """Continue at `image_offset`; a gap of less than a block is filled with zeros, to keep writes long."""
        end = self._start + self._filled
        gap = image_offset - end
        if not 0 <= gap < BLOCK_SIZE_BYTES or self._filled + gap >= _BUFFER_BYTES:
            self._flush()
            self._start = image_offset
            return
        if gap:
            self._buffer[self._filled : self._filled + gap] = bytes(gap)
            self._filled += gap

    def _share(self, source: int, offset: int, length: int) -> int:
        """Have the image share its whole blocks with the source, and return how many bytes these are: 0 if it cannot.

        What is wrong then is found when all is read or written.
        """
        at = self._start + self._filled - self._window.start
        count = length - length % BLOCK_SIZE_BYTES
        try:
            fcntl.ioctl(self._window.fd, _FICLONERANGE, _FILE_CLONE_RANGE.pack(source, offset, count, at))
        except OSError:  # other file systems, one without shared blocks, or no whole blocks of it
            return 0
        self._flush()
        self._start += count
        if self._progress is not None:
            self._progress(count)
        return count

    def _read(self, source: int, offset: int, length: int) -> None:
        while length:
            free = self._buffer[self._filled : self._filled + length]
            count = os.preadv(source, [free], offset)
            if not count:
                raise ImageError(f"a source file ended at byte {offset} while it was read; build the image again")
            offset, length = offset + count, length - count
            self._take(count)

    def _read_stream(self, stream: BufferedReader, length: int) -> None:
        while length:
            count = stream.readinto(self._buffer[self._filled : self._filled + length])
            if not count:
                raise ImageError(_ENDED_EARLY)
            length -= count
            self._take(count)

    def _take(self, count: int) -> None:
        self._filled += count
        self._content += count
        if self._filled == _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._filled:
            return
        with self._turn:
            self._window.write(self._buffer[: self._filled], self._start)
        if self._progress is not None:
            self._progress(self._content)
        self._start += self._filled
        self._filled = self._content = 0


def copy_files(
    window: ImageWindow,
    wanted: list[Transfer],
    progress: ProgressFunction | None,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Copy from stores that can be read at any offset, by two threads if there is enough work for two processors.

    `meanwhile` is called in this thread while the other one copies. Raises ImageError for a source that changed since
    it was planned, and for an image that cannot be written.
    """
    wanted.sort(key=lambda transfer: transfer.image_offset)
    parts = _parts(wanted) if len(os.sched_getaffinity(0)) > 1 else [wanted]
    if len(parts) < _WORTH_A_THREAD_PARTS:
        meanwhile()
        Copier(window, progress).copy_files(wanted)
        return
    lock, turn, stop = Lock(), Lock(), Event()
    failures: list[BaseException] = []
    pending = iter(parts)  # each thread takes the next one

    def report(count: int) -> None:
        if progress is not None:
            with lock:
                progress(count)

    def copy_parts() -> None:
        copier = Copier(window, report, turn)
        for part in pending:
            copier.copy_files(part, stop)

    def help_copying() -> None:
        try:
            copy_parts()
        except BaseException as error:  # raised again by the thread that waits
            failures.append(error)
            stop.set()

    helper = Thread(target=help_copying)
    interval_seconds = sys.getswitchinterval()
    helper.start()
    try:
        sys.setswitchinterval(_SWITCH_SECONDS)
        meanwhile()
        copy_parts()
    except BaseException:
        stop.set()
        raise
    finally:
        helper.join()
        sys.setswitchinterval(interval_seconds)
    if failures:
        raise failures[0]


def _parts(wanted: Sequence[Transfer]) -> list[Sequence[Transfer]]:
    """Divide copies into parts that take about equally long, in order; a long file is a part by itself."""
    parts: list[Sequence[Transfer]] = []
    first = cost = 0
    for end, transfer in enumerate(wanted, 1):
        cost += transfer.length_bytes + _FILE_COST_BYTES
        if cost >= _PART_BYTES or end == len(wanted):
            parts.append(wanted[first:end])
            first, cost = end, 0
    return parts


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    """Write all of `view` at `offset`. Raises ImageError, for example where the host's disk is full."""
    while view:
        try:
            count = os.pwrite(fd, view, offset)
        except OSError as error:
            raise ImageError(f"the image cannot be written at byte {offset}: {error.strerror}") from error
        view, offset = view[count:], offset + count


def skip(stream: BufferedReader, length: int) -> None:
    """Read and drop `length` bytes. Raises ImageError where the stream ends before."""
    while length:
        count = len(stream.read(min(length, _BUFFER_BYTES)))
        if not count:
            raise ImageError(_ENDED_EARLY)
        length -= count
