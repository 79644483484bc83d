"""Commands about the guest as a whole: free, dmesg, uname, hostname, vmcp."""

import os
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


def vmcp(context: Context) -> None:
    """Have CP execute a command and print its response; in upper case, unless -k. Statuses are vmcp(8)'s."""
    try:
        given, words = options(context, "k")
        command = " ".join(shown(word) for word in operands(words))
        if "k" not in given:
            command = command.upper()
        if len(command) > MAX_COMMAND_BYTES:  # cut, it would be another one
            raise KernelError(EINVAL, f"CP command of {len(command)} bytes, wanted at most {MAX_COMMAND_BYTES}")
        response = cpcmd(context.kernel.machine, command, MAX_BLOCK_BYTES)
    except UsageError as error:
        context.fail(f"{error}\nusage: {COMMANDS[b'vmcp'].usage}", _VMCP_OPT)
    except UnicodeEncodeError:
        context.fail(f"'{command}': CP's commands are EBCDIC, code page 037", _VMCP_OPT)
    except KernelError as error:
        context.fail(reason(context.kernel, error), _VMCP_LIN)
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
    b"vmcp": Builtin(vmcp, "vmcp [-k] COMMAND..."),
}
