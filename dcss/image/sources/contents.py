"""Read the bytes of files in a tree, those of one compressed archive in one pass."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator

from dcss.errors import ImageError
from dcss.ext2.mkfs.copy import skip
from dcss.ext2.mkfs.tree import DataRun, FileStore, Store, StreamStore, TreeFile
from dcss.host.cancellation import check_cancelled


def read_contents(files: Iterable[TreeFile]) -> Iterator[tuple[TreeFile, bytes]]:
    """Yield each file once with its bytes, holes as zeros, store by store.

    Raises ImageError where an archive or file cannot be read any more.
    """
    by_store: defaultdict[Store, list[TreeFile]] = defaultdict(list)
    for file in dict.fromkeys(files):
        by_store[file.store].append(file)
    for store, stored in by_store.items():
        contents = {file: bytearray(file.size_bytes) for file in stored}
        runs = sorted(((run, file) for file in stored for run in file.data), key=lambda item: item[0].source_offset)
        wanted = [run for run, _ in runs]
        parts = _stream_parts(store, wanted) if isinstance(store, StreamStore) else _file_parts(store, wanted)
        for (run, file), part in zip(runs, parts, strict=True):
            contents[file][run.file_offset : run.file_offset + run.length_bytes] = part
        yield from ((file, bytes(content)) for file, content in contents.items())


def content_of(file: TreeFile) -> bytes:
    """Return the bytes of one file. Raises ImageError."""
    return next(read_contents([file]))[1]


def _stream_parts(store: StreamStore, runs: Iterable[DataRun]) -> Iterator[bytes]:
    with store.open_stream() as stream:
        at = 0
        for run in runs:
            skip(stream, run.source_offset - at)
            yield _whole(stream.read(run.length_bytes), run)
            at = run.source_offset + run.length_bytes


def _file_parts(store: FileStore, runs: Iterable[DataRun]) -> Iterator[bytes]:
    descriptor = store.open()
    try:
        for run in runs:
            check_cancelled()
            yield _whole(os.pread(descriptor, run.length_bytes, run.source_offset), run)
    finally:
        os.close(descriptor)


def _whole(part: bytes, run: DataRun) -> bytes:
    if len(part) < run.length_bytes:
        raise ImageError(
            f"a file ended early: found {len(part)} of {run.length_bytes} bytes from byte {run.source_offset} of what"
            " holds it; it changed: build the image again"
        )
    return part
