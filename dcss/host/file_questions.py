"""Ask about files whose file system may never answer, such as FUSE whose server hangs, or a network that is gone.

Whoever asks then waits in the kernel and cannot even be killed. So a process of its own asks, and is given up where it
does not answer in time: it ends when the file system does, or comes back.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from dcss.errors import DcssError
from dcss.host.process import is_readable_by

ANSWER_SECONDS = 2.0
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 0.1
_MAX_GIVEN_UP: Final = 8
_ANSWER_BYTES: Final = 1 << 12
_PROGRAM: Final = Path(__file__).with_name("file_answers.py")

_given_up: list["subprocess.Popen[bytes]"] = []  # of this whole process: they last longer than who asked


class NoAnswerError(DcssError):
    """A file system did not answer in time."""


class FileStatus(NamedTuple):
    """A file: `mode`, `device` and `inode` as in stat, and the number of its file system's kind as in statfs."""

    mode: int
    device: int
    inode: int
    file_system: int


class FileQuestions(AbstractContextManager["FileQuestions"]):
    """Asks by a process that is started with the first question. One thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._give_up()  # an interrupt may have come while it waited for a file system

    def status(self, path: str) -> FileStatus:
        """Return what `path` leads to; its file system has answered. Raises OSError, NoAnswerError."""
        return self._ask("status", path)[0]

    def open(self, path: str) -> int:
        """Open `path` for reading, and return the descriptor. Raises OSError, NoAnswerError."""
        return self._ask("open", path)[1][0]

    def _ask(self, verb: str, path: str) -> tuple[FileStatus, list[int]]:
        channel = self._started()
        try:
            channel.send(verb.encode() + b" " + os.fsencode(path))
            answer, descriptors = self._received(channel)
        except TimeoutError:
            self._give_up()
            raise NoAnswerError(f"its file system does not answer within {ANSWER_SECONDS:g} s") from None
        if not answer:
            self._give_up()
            raise NoAnswerError("the process that asks its file system has ended")
        found = json.loads(answer)
        if (errno := found.get("errno")) is not None:
            raise OSError(errno, os.strerror(errno), path)
        return FileStatus(**found), descriptors

    def _received(self, channel: socket.socket) -> tuple[bytes, list[int]]:
        """Return an answer and its descriptors. Raises TimeoutError: the process waits for the file system."""
        assert self._process is not None, "it was asked"
        if not is_readable_by(channel.fileno(), self._process.pid, monotonic() + ANSWER_SECONDS):
            raise TimeoutError
        answer, descriptors, _, _ = socket.recv_fds(channel, _ANSWER_BYTES, 1)
        return answer, descriptors

    def _started(self) -> socket.socket:
        if self._channel is not None:
            return self._channel
        _given_up[:] = [process for process in _given_up if process.poll() is None]
        if len(_given_up) >= _MAX_GIVEN_UP:
            raise NoAnswerError(f"{len(_given_up)} processes wait for file systems that do not answer, and no more ask")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-I", "-S", str(_PROGRAM), str(theirs.fileno())]
            null = subprocess.DEVNULL
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], cwd="/", stdin=null, stdout=null, stderr=null
            )
        self._channel = ours
        self._wait_until_it_can(ours)
        ours.settimeout(None)
        return ours

    def _wait_until_it_can(self, channel: socket.socket) -> None:
        """Wait until the process can answer: its interpreter takes its time on a busy machine."""
        channel.settimeout(_START_SECONDS)
        try:
            ready = bool(channel.recv(_ANSWER_BYTES))
        except TimeoutError:
            ready = False
        if not ready:
            self._give_up()
            raise NoAnswerError(f"the process that asks its file system was not ready within {_START_SECONDS:g} s")

    def _give_up(self) -> None:
        assert self._process is not None
        assert self._channel is not None
        self._channel.close()
        self._process.kill()
        # Not waited for without a limit: it may wait uninterruptibly, and ends as soon as it does not any more.
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            _given_up.append(self._process)
        self._process = self._channel = None
