"""What a command is given: the guest's kernel, where it stands, its words, and where its output goes."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EISDIR, EOVERFLOW, EUCLEAN
from typing import NamedTuple, Protocol

from dcss.errors import Ext2FormatError, KernelError
from vmguest.credentials import Credentials
from vmguest.fs.mount import Dentry
from vmguest.fs.open import O_RDONLY, FileDescription, open_file
from vmguest.kernel import Kernel
from vmguest.shell.streams import Sink, Stream
from vmguest.task import Task

FAILED = 1
USAGE = 2
_MAX_DIGITS = 19  # 64 bits hold them whatever they are


class Interpreter(Protocol):
    """The shell that runs a command, as commands need it."""

    @property
    def builtins(self) -> "Mapping[bytes, Builtin]":
        """All commands by name."""
        ...

    def subshell(self, directory: Dentry, credentials: Credentials) -> "Interpreter":
        """Return another shell, which begins in a directory, of a user."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait. Raises ConnectionError where whoever asked for the command has gone."""
        ...

    def run(self, command: str | bytes | Sequence[str | bytes], stdout: Sink, stderr: Sink) -> int:
        """Run a line; return the exit status of what ran last."""
        ...


class UsageError(Exception):
    """The words do not make sense to the command; the text says which."""


@dataclass(slots=True)
class Context:
    """One run of one command by `shell`, in its own `task`: `name` and `arguments` are the command's words."""

    kernel: Kernel
    task: Task
    name: str
    arguments: Sequence[bytes]
    out: Stream
    err: Stream
    shell: Interpreter
    status: int = 0

    @property
    def directory(self) -> Dentry:
        """The working directory."""
        return self.task.directory

    def dentry(self, argument: bytes, *, follow: bool = True) -> Dentry:
        """Return what an argument names."""
        return self.kernel.vfs.resolve(argument, follow=follow, start=self.directory)

    def open(self, argument: bytes, flags: int = O_RDONLY) -> FileDescription:
        """Open what is read or written as bytes. Raises KernelError(EISDIR) for a directory."""
        opened = open_file(self.kernel.vfs, argument, flags, self.directory)
        if opened.dentry.inode.is_dir:
            opened.close()
            raise KernelError(EISDIR, f"{shown(argument)}: is a directory")
        return opened

    def fail(self, text: str, status: int = FAILED) -> None:
        """Write one line of error, and end with this status at the end."""
        self.out.flush()
        self.err.line(f"{self.name}: {text}")
        self.err.flush()
        self.status = status

    @contextmanager
    def reporting(self, what: str) -> Iterator[None]:
        """Turn a kernel's refusal into a line `name: what: reason`; the command goes on with its next argument."""
        try:
            yield
        except (KernelError, Ext2FormatError) as error:
            self.fail(f"{what}: {reason(error)}")

    def send(self, argument: bytes, count: int | None = None) -> int:
        """Send a file's bytes to standard output, from where they are; return how many."""
        with self.open(argument) as opened:
            return opened.file.sendfile(0, opened.file.size_bytes if count is None else count, self.out.take)


def reason(error: KernelError | Ext2FormatError) -> str:
    """Return the text of an error's errno, as libc has it; what is damaged stands in the log."""
    if isinstance(error, Ext2FormatError):
        return os.strerror(EUCLEAN)
    return os.strerror(error.errno or 0)


class Builtin(NamedTuple):
    """A command of the shell: the function that runs it, and its line in `help`."""

    run: Callable[[Context], None]
    usage: str


def options(context: Context, flags: str, valued: str = "", repeated: str = "") -> tuple[dict[str, bytes], list[bytes]]:
    """Return the options given, with their values, and the words that are left; -- ends options.

    `flags` are letters without a value, `valued` letters with one, in the same word or the next; the values of those in
    `repeated` are joined by commas where they are given more than once.
    Raises UsageError for any other.
    """
    given: dict[str, bytes] = {}
    rest: list[bytes] = []
    words = iter(context.arguments)
    for word in words:
        if word == b"--":
            rest.extend(words)
        elif len(word) < 2 or not word.startswith(b"-"):
            rest.append(word)
        elif word.startswith(b"--"):
            raise UsageError(f"unrecognized option '{shown(word)}'")
        else:
            letters = os.fsdecode(word[1:])
            for index, letter in enumerate(letters):
                if letter in flags:
                    given[letter] = b""
                    continue
                if letter not in valued:
                    raise UsageError(f"invalid option -- '{letter}'")
                value = os.fsencode(letters[index + 1 :]) or next(words, None)
                if value is None:
                    raise UsageError(f"option requires an argument -- '{letter}'")
                given[letter] = given[letter] + b"," + value if letter in given and letter in repeated else value
                break
    return given, rest


def number(text: bytes, what: str) -> int:
    """Return a decimal number of 0 or more, of up to 19 digits. Raises UsageError."""
    if not text.isdigit():
        raise UsageError(f"invalid number of {what}: '{shown(text)}'")
    digits = text.lstrip(b"0") or b"0"
    if len(digits) > _MAX_DIGITS:
        raise UsageError(f"invalid number of {what}: '{shown(text)}': {os.strerror(EOVERFLOW)}")
    return int(digits)


def operands(words: list[bytes], at_least: int = 1, at_most: int | None = None) -> list[bytes]:
    """Return words, as many as wanted. Raises UsageError."""
    if len(words) < at_least:
        raise UsageError("missing operand")
    if at_most is not None and len(words) > at_most:
        raise UsageError(f"extra operand '{shown(words[at_most])}'")
    return words


def shown(name: bytes) -> str:
    """Return a file name as text that `Stream.line` turns back into the same bytes."""
    return os.fsdecode(name)
