"""The guest's small shell: runs lines of commands on the guest kernel, and answers with output and an exit status."""

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from errno import EINVAL

from dcss.errors import Ext2FormatError, KernelError
from vmguest.credentials import ROOT, Credentials
from vmguest.fs.mount import Dentry
from vmguest.fs.open import O_APPEND, O_CREAT, O_TRUNC, O_WRONLY, FileDescription, open_file
from vmguest.kernel import Kernel
from vmguest.shell.context import FAILED, USAGE, Builtin, Context, UsageError, reason, shown
from vmguest.shell.globbing import expand
from vmguest.shell.parser import Redirection, ShellSyntaxError, SimpleCommand, parse_line, parse_words
from vmguest.shell.streams import OutputError, Sink, Stream
from vmguest.shell.table import COMMANDS
from vmguest.task import Task

CANNOT_EXECUTE = 126
NOT_FOUND = 127
CRASHED = 70  # sysexits.h: EX_SOFTWARE

Words = Sequence[str | bytes]


class Shell:
    """A shell: each run is a task that begins in `directory`, or the root, and in which `cd` holds until its end.

    `wait` waits so many seconds, and is called before each command with 0: where it raises ConnectionError, no further
    command runs.
    """

    def __init__(
        self,
        kernel: Kernel,
        directory: Dentry | None = None,
        credentials: Credentials = ROOT,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.kernel = kernel
        self._directory = directory
        self._credentials = credentials
        self._wait = wait

    @property
    def builtins(self) -> Mapping[bytes, Builtin]:
        """All commands by name."""
        return COMMANDS

    def subshell(self, directory: Dentry, credentials: Credentials) -> "Shell":
        """Return another shell of this guest, of a user, which begins in a directory and waits as this one does."""
        return Shell(self.kernel, directory, credentials, wait=self._wait)

    def wait(self, seconds: float) -> None:
        """Wait, as a command does. Raises ConnectionError where it should not go on."""
        self._wait(seconds)

    def run(self, command: str | bytes | Words, stdout: Sink, stderr: Sink) -> int:
        """Run a line, or the command that words make; return the exit status of what ran last.

        Whatever a command does, the guest lives on: an unexpected exception is status 70 with a line in the kernel's
        log. Raises ConnectionError where a sink does, since then nobody listens.
        """
        out, err = Stream(stdout), Stream(stderr)
        self.kernel.vfs.populate()
        try:
            if isinstance(command, str | bytes):
                commands = parse_line(os.fsencode(command))
            else:
                commands = parse_words([os.fsencode(word) for word in command])
        except ShellSyntaxError as error:
            err.line(f"sh: {error}")
            err.flush()
            return USAGE
        status = 0
        task = self.kernel.new_task(self._directory or self.kernel.vfs.root(), self._credentials)
        before, self.kernel.vfs.user = self.kernel.vfs.user, self._credentials
        try:
            for parsed in commands:
                if parsed.when is None or (parsed.when == 0) == (status == 0):
                    self._wait(0)
                    status = self._guarded(task, parsed, out, err)
        finally:
            self.kernel.vfs.user = before
            self.kernel.end_task(task)
        return status

    def _guarded(self, task: Task, command: SimpleCommand, out: Stream, err: Stream) -> int:
        try:
            return self._redirected(task, command, out, err)
        except ConnectionError:
            raise
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
            self.kernel.log.log("err", f"shell: unexpected {error!r} at {where}, in {place.name}")
            err.line(f"sh: internal error: {error!r} (dmesg says where)")
            return CRASHED
        finally:
            out.flush()
            err.flush()

    def _redirected(self, task: Task, command: SimpleCommand, out: Stream, err: Stream) -> int:
        words = [path for word in command.words for path in expand(task.vfs, task.directory, word)]
        with ExitStack() as stack:
            for redirection in command.redirections:
                try:
                    file = stack.enter_context(_open(task, redirection))
                except (KernelError, Ext2FormatError) as error:
                    err.line(f"sh: {_literal(redirection)}: {reason(error)}")
                    return FAILED
                out = Stream(file.write_all)  # as in any shell every file is opened, and the last one is written to
            return self._execute(task, words, out, err)

    def _execute(self, task: Task, words: list[bytes], out: Stream, err: Stream) -> int:
        if not words:
            return 0
        command = COMMANDS.get(words[0])
        if command is None:
            return self._no_command(task, words[0], err)
        context = Context(self.kernel, task, shown(words[0]), words[1:], out, err, self)
        try:
            command.run(context)
            out.flush()
        except UsageError as error:
            context.fail(f"{error}\nusage: {command.usage}", USAGE)
        except OutputError as error:
            context.fail(f"write error: {reason(error.cause)}")
        except (KernelError, Ext2FormatError) as error:
            context.fail(reason(error))
        return context.status

    def _no_command(self, task: Task, word: bytes, err: Stream) -> int:
        if b"/" not in word:
            err.line(f"sh: {shown(word)}: command not found (`help` lists what there is)")
            return NOT_FOUND
        try:
            dentry = task.vfs.resolve(word, start=task.directory)
        except (KernelError, Ext2FormatError) as error:
            err.line(f"sh: {shown(word)}: {reason(error)}")
            return NOT_FOUND
        why = "Is a directory" if dentry.inode.is_dir else "cannot execute: engine process runs no machine code"
        err.line(f"sh: {shown(word)}: {why}")
        return CANNOT_EXECUTE


def _open(task: Task, redirection: Redirection) -> FileDescription:
    targets = expand(task.vfs, task.directory, redirection.target)
    if len(targets) != 1:
        raise KernelError(EINVAL, "redirection: wanted one file")
    flags = O_WRONLY | O_CREAT | (O_APPEND if redirection.append else O_TRUNC)
    return open_file(task.vfs, targets[0], flags, task.directory)


def _literal(redirection: Redirection) -> str:
    return shown(b"".join(fragment.text for fragment in redirection.target))
