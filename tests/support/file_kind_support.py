"""Names that stand for no regular file, by what messages call them."""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

Maker = Callable[[Path], object]


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


WRONG_KINDS: Mapping[str, Maker] = {
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
    "a socket": _make_socket,
    "a character device": lambda path: path.symlink_to("/dev/zero"),  # a node of its own takes root
}
