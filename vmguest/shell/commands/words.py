"""Commands of the shell itself: echo, pwd, cd, env, true, false, sleep, sh, help."""

import re
from errno import ENOTDIR

from dcss.errors import KernelError
from vmguest.shell.context import FAILED, Builtin, Context, UsageError, operands, options, shown

_ENVIRONMENT = {
    "HOME": "/",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
_INTERVAL = re.compile(rb"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})([smhd]?)")
_UNIT_SECONDS = {b"": 1, b"s": 1, b"m": 60, b"h": 3600, b"d": 86400}


def echo(context: Context) -> None:
    """Write words; -n leaves out the newline."""
    words = list(context.arguments)
    end = b"\n"
    while words and words[0] == b"-n":
        del words[0]
        end = b""
    context.out.write(b" ".join(words) + end)


def pwd(context: Context) -> None:
    """Print the working directory."""
    context.out.line(shown(context.directory.path))


def cd(context: Context) -> None:
    """Change the working directory, until this shell ends."""
    name = operands(list(context.arguments), at_least=0, at_most=1)
    target = name[0] if name else b"/"
    with context.reporting(shown(target)):
        dentry = context.dentry(target)
        if not dentry.inode.is_dir:
            raise KernelError(ENOTDIR, f"{shown(target)}: not a directory")
        context.task.chdir(dentry)


def env(context: Context) -> None:
    """Print the environment, which nothing changes."""
    if context.arguments:
        raise UsageError("it only prints the environment")
    for name, value in (*_ENVIRONMENT.items(), ("PWD", shown(context.directory.path))):
        context.out.line(f"{name}={value}")


def true(_context: Context) -> None:
    """Do nothing, well."""


def false(context: Context) -> None:
    """Do nothing, and fail."""
    context.status = FAILED


def sleep(context: Context) -> None:
    """Wait as long as the words come to together; a command that is cancelled waits no longer."""
    seconds = 0.0
    for word in operands(options(context, "")[1]):
        found = _INTERVAL.fullmatch(word)
        if found is None:
            raise UsageError(f"invalid time interval '{shown(word)}'")
        seconds += float(found[1]) * _UNIT_SECONDS[found[2]]
    context.out.flush()
    context.shell.wait(seconds)


def sh(context: Context) -> None:
    """Run a line in a shell of its own."""
    given, words = options(context, "", "c")
    operands(words, at_least=0, at_most=0)
    if "c" not in given:
        raise UsageError("there is no terminal to read from")
    context.out.flush()
    context.status = context.shell.subshell(context.directory, context.task.credentials).run(
        given["c"], context.out.pass_on, context.err.pass_on
    )


def help_command(context: Context) -> None:
    """List the commands."""
    for _, builtin in sorted(context.shell.builtins.items()):
        context.out.line(builtin.usage)


COMMANDS = {
    b"cd": Builtin(cd, "cd [DIRECTORY]"),
    b"echo": Builtin(echo, "echo [-n] [WORD]..."),
    b"env": Builtin(env, "env"),
    b"false": Builtin(false, "false"),
    b"help": Builtin(help_command, "help"),
    b"pwd": Builtin(pwd, "pwd"),
    b"sh": Builtin(sh, "sh -c LINE"),
    b"sleep": Builtin(sleep, "sleep NUMBER[s|m|h|d]..."),
    b"true": Builtin(true, "true"),
}
