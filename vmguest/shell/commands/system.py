"""Commands about the guest as a whole: free, dmesg, uname, hostname, vmcp."""

import os
import re
from dataclasses import replace
from errno import EINVAL

from dcss.abi.diag08 import MAX_COMMAND_BYTES
from dcss.abi.hypercall import MAX_BLOCK_BYTES
from dcss.errors import KernelError
from vmguest import utsname
from vmguest.cpcmd import cpcmd
from vmguest.fs.procfs import memory
from vmguest.shell.commands.format import human
from vmguest.shell.context import Builtin, Context, UsageError, operands, options, reason, shown

_COLUMNS = ("total", "used", "free", "shared", "buff/cache", "available")
_VMCP_BUF, _VMCP_LIN, _VMCP_OPT = 2, 3, 4  # response cut, an error of Linux, wrong options
_VMCP_BUFFER_BYTES = 8192  # vmcp(8): the default, and the range of --buffer
_VMCP_LEAST_BYTES, _VMCP_MOST_BYTES = 4096, 1 << 20
_BUFFER_SIZE = re.compile(rb"(\d{1,9})([kKmM]?)")
_BUFFER_SHIFT = {b"": 0, b"k": 10, b"m": 20}
_SHIFT = {"b": 0, "k": 10, "m": 20, "g": 30}


def free(context: Context) -> None:
    """Show what the guest has instantiated; segments are not in it, since it has no copy of their pages.

    Nothing is ever evicted here, so what is available is what is free.
    """
    given, words = options(context, "hbkmg")
    operands(words, at_least=0, at_most=0)
    now = memory(context.kernel)
    cache = now.buffer_bytes + now.cached_bytes
    shared = sum(
        m.file_system.page_cache_bytes for m in context.kernel.vfs.mounts if m.file_system.type_name == "tmpfs"
    )
    row = (now.total_bytes, now.total_bytes - now.free_bytes - cache, now.free_bytes, shared, cache, now.free_bytes)
    shift = next((_SHIFT[unit] for unit in given if unit in _SHIFT), 10)
    context.out.line(" " * 8 + "".join(f"{name:>12}" for name in _COLUMNS))
    for name, sizes in (("Mem:", row), ("Swap:", (0, 0, 0))):
        cells = [human(size, "i") if "h" in given else str(size >> shift) for size in sizes]
        context.out.line(f"{name:8}" + "".join(f"{cell:>12}" for cell in cells))


def dmesg(context: Context) -> None:
    """Print the kernel's log."""
    _, words = options(context, "")
    operands(words, at_least=0, at_most=0)
    for line in context.kernel.log.lines():
        context.out.line(line)


def uname(context: Context) -> None:
    """Name the system: a guest of z/VM, though engine process runs no machine code of it."""
    given, words = options(context, "asnrvm")
    operands(words, at_least=0, at_most=0)
    fields = {
        "s": utsname.SYSTEM,
        "n": context.kernel.name,
        "r": utsname.RELEASE,
        "v": utsname.VERSION,
        "m": utsname.MACHINE,
    }
    wanted = [letter for letter in fields if letter in given or "a" in given] or ["s"]
    context.out.line(" ".join(fields[letter] for letter in wanted))


def hostname(context: Context) -> None:
    """Print the guest's name."""
    if context.arguments:
        raise UsageError("the name is the guest's own, and cannot be set")
    context.out.line(context.kernel.name)


def _short_options(context: Context) -> Context:
    """Return the context with vmcp's long options, each in one word or two, as the short ones that they stand for."""
    words: list[bytes] = []
    arguments = iter(context.arguments)
    for word in arguments:
        name, _, value = word.partition(b"=")
        if word == b"--":
            words += [word, *arguments]
        elif name == b"--buffer":
            words.append(b"-b" + value)
        else:
            words.append(b"-k" if word == b"--keep-case" else word)
    return replace(context, arguments=words)


def _buffer_bytes(text: bytes) -> int:
    """Return the size of --buffer: bytes, or with k or M. Raises UsageError."""
    found = _BUFFER_SIZE.fullmatch(text)
    size_bytes = int(found[1]) << _BUFFER_SHIFT[found[2].lower()] if found else 0
    if not _VMCP_LEAST_BYTES <= size_bytes <= _VMCP_MOST_BYTES:
        raise UsageError(f"--buffer '{shown(text)}': wanted {_VMCP_LEAST_BYTES} to {_VMCP_MOST_BYTES} bytes, or k or M")
    return size_bytes


def vmcp(context: Context) -> None:
    """Have CP execute a command and print its response; in upper case, unless -k. Statuses are vmcp(8)'s."""
    try:
        given, words = options(_short_options(context), "k", "b")
        buffer_bytes = _buffer_bytes(given["b"]) if "b" in given else _VMCP_BUFFER_BYTES
        command = " ".join(shown(word) for word in operands(words))
        if "k" not in given:
            command = command.upper()
        if len(command) > MAX_COMMAND_BYTES:  # cut, it would be another one
            raise KernelError(EINVAL, f"CP command of {len(command)} bytes, wanted at most {MAX_COMMAND_BYTES}")
        response = cpcmd(context.kernel.machine, command, min(buffer_bytes, MAX_BLOCK_BYTES))
    except UsageError as error:
        context.fail(f"{error}\nusage: {COMMANDS[b'vmcp'].usage}", _VMCP_OPT)
    except UnicodeEncodeError:
        context.fail(f"'{command}': CP's commands are EBCDIC, code page 037", _VMCP_OPT)
    except KernelError as error:
        context.fail(reason(error), _VMCP_LIN)
    else:
        context.out.write(os.fsencode(response.text))
        if response.missing_bytes:
            context.fail(f"the response was cut, {response.missing_bytes} bytes are missing", _VMCP_BUF)
        elif response.return_code:
            context.fail(f"non-zero CP response for command '{command}': #{response.return_code}")


COMMANDS = {
    b"dmesg": Builtin(dmesg, "dmesg"),
    b"free": Builtin(free, "free [-hbkmg]"),
    b"hostname": Builtin(hostname, "hostname"),
    b"uname": Builtin(uname, "uname [-asnrvm]"),
    b"vmcp": Builtin(vmcp, "vmcp [-k] [-b SIZE] COMMAND..."),
}
