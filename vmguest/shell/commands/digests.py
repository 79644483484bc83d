"""Digests of files, computed on the bytes where they lie: sha256sum, md5sum."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Protocol

from vmguest.shell.context import Builtin, Context, options, shown


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def digest(new: Callable[[], _Hash], context: Context) -> None:
    """Print each file's digest; without xip that reads it into the page cache, in place it copies nothing."""
    _, files = options(context, "b")
    for file in files:
        with context.reporting(shown(file)), context.open(file) as opened:
            state = new()

            def take(piece: memoryview, state: _Hash = state) -> int:
                state.update(piece)
                return len(piece)

            opened.file.sendfile(0, opened.file.size_bytes, take)
            context.out.line(f"{state.hexdigest()}  {shown(file)}")


COMMANDS = {
    b"md5sum": Builtin(partial(digest, partial(hashlib.md5, usedforsecurity=False)), "md5sum [FILE]..."),
    b"sha256sum": Builtin(partial(digest, hashlib.sha256), "sha256sum [FILE]..."),
}
