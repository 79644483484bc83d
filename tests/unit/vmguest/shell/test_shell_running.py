"""How the shell runs commands: statuses, order, redirection, wildcards, and faults that end no guest."""

from collections.abc import Callable

import pytest
from shell_support import out, sh

from dcss.errors import KernelError
from vmguest.kernel import Kernel
from vmguest.shell.context import Builtin, Context
from vmguest.shell.shell import Shell
from vmguest.shell.table import COMMANDS


@pytest.mark.parametrize(
    ("line", "status", "wanted"),
    [
        ("true", 0, b""),
        ("false", 1, b""),
        ("false; true", 0, b""),
        ("true && echo a", 0, b"a\n"),
        ("false && echo a", 1, b""),
        ("false || echo a", 0, b"a\n"),
        ("true || echo a && echo b", 0, b"b\n"),
        ("false && echo a || echo b", 0, b"b\n"),
        ("", 0, b""),
        ("sh -c 'echo a; false'", 1, b"a\n"),
        ("sh -c 'cd /tmp; pwd'; pwd", 0, b"/tmp\n/\n"),
        ("cd /tmp; sh -c pwd", 0, b"/tmp\n"),
    ],
)
def test_statuses_and_order(bare: Kernel, line: str, status: int, wanted: bytes) -> None:
    ran = sh(bare, line)
    assert (ran.status, ran.out, ran.err) == (status, wanted, "")


@pytest.mark.parametrize(
    ("command", "status", "err"),
    [
        ("frob x", 127, "sh: frob: command not found (`help` lists what there is)\n"),
        ("/bin/frob", 127, "sh: /bin/frob: No such file or directory\n"),
        ("/tmp", 126, "sh: /tmp: Is a directory\n"),
        ("/etc/hostname", 126, "sh: /etc/hostname: cannot execute: engine process runs no machine code\n"),
        ("echo a | cat", 2, "sh: syntax error at `|': pipes are not supported; quote it to mean it\n"),
        ("ls -Q", 2, "ls: invalid option -- 'Q'\nusage: ls [-laAiRd1] [FILE]...\n"),
        ("mkdir", 2, "mkdir: missing operand\nusage: mkdir [-p] DIRECTORY...\n"),
        (
            "head -n x /etc/hostname",
            2,
            "head: invalid number of lines: 'x'\nusage: head [-n LINES] [-c BYTES] [FILE]...\n",
        ),
        ("sleep", 2, "sleep: missing operand\nusage: sleep NUMBER[s|m|h|d]...\n"),
        ("sleep 0 1x", 2, "sleep: invalid time interval '1x'\nusage: sleep NUMBER[s|m|h|d]...\n"),
        ("sleep .", 2, "sleep: invalid time interval '.'\nusage: sleep NUMBER[s|m|h|d]...\n"),
        ("head -n", 2, "head: option requires an argument -- 'n'\nusage: head [-n LINES] [-c BYTES] [FILE]...\n"),
        ("cat ''", 1, "cat: : No such file or directory\n"),
        (["cat", "a b"], 1, "cat: a b: No such file or directory\n"),
    ],
)
def test_what_cannot_be_run(bare: Kernel, command: "str | list[str]", status: int, err: str) -> None:
    assert sh(bare, command) == (status, b"", err)


def test_a_syntax_error_runs_nothing(bare: Kernel) -> None:
    assert sh(bare, "echo a > /tmp/x; echo 'b").status == 2
    assert sh(bare, "cat /tmp/x").status == 1


def test_redirection_makes_empties_and_appends(bare: Kernel) -> None:
    assert out(bare, "echo one > /tmp/x; echo two >> /tmp/x; cat /tmp/x") == b"one\ntwo\n"
    assert out(bare, "echo three >/tmp/x && cat /tmp/x && > /tmp/x && cat /tmp/x && ls /tmp") == b"three\nx\n"
    assert out(bare, ["echo", "as words", ">", "/tmp/y"]) == b""
    assert out(bare, "cat /tmp/y") == b"as words\n"
    assert out(bare, "echo last > /tmp/1 > /tmp/2; cat /tmp/1; cat /tmp/2") == b"last\n"
    assert out(bare, "sh -c 'echo a; echo b' > /tmp/x; cat /tmp/x") == b"a\nb\n"


@pytest.mark.parametrize(
    ("line", "err"),
    [
        ("echo x > /usr/x", "sh: /usr/x: Read-only file system\n"),
        ("echo x > /usr/lib/notes.txt", "sh: /usr/lib/notes.txt: Read-only file system\n"),
        ("echo x > /proc/meminfo", "sh: /proc/meminfo: Read-only file system\n"),
        ("echo x > /tmp", "sh: /tmp: Is a directory\n"),
        ("echo x > /tmp/nosuch/x", "sh: /tmp/nosuch/x: No such file or directory\n"),
        ("echo x > ''", "sh: : No such file or directory\n"),
        ("echo x > /usr/lib/*.so", "sh: /usr/lib/*.so: Invalid argument\n"),
    ],
)
def test_redirection_that_fails_runs_nothing(kernel: Kernel, line: str, err: str) -> None:
    assert sh(kernel, line) == (1, b"", err)


def test_wildcards(kernel: Kernel) -> None:
    assert out(kernel, "echo /usr/lib/lib*.so.?") == b"/usr/lib/libone.so.1 /usr/lib/libtwo.so.2\n"
    assert out(kernel, "cd /usr; echo l*b/[ln]*.txt lib/n\\*") == b"lib/notes.txt lib/n*\n"
    assert out(kernel, "echo /lib/libone*") == b"/lib/libone.so /lib/libone.so.1\n"  # through a link
    assert out(kernel, "echo '/usr/*' /nosuch/* /usr/lib/notes.txt/*") == b"/usr/* /nosuch/* /usr/lib/notes.txt/*\n"
    assert out(kernel, ["echo", "/usr/*"]) == b"/usr/*\n"
    assert out(
        kernel, "cd /tmp; echo 1 > .hidden; echo 2 > seen; echo *; echo .h*; echo 'a*b' > 'a*b'; echo a\\*?"
    ) == (b"seen\n.hidden\na*b\n")
    assert out(kernel, "echo x > /tmp/se*; cat /tmp/seen") == b"x\n"


def with_command(monkeypatch: pytest.MonkeyPatch, run: Callable[[Context], None]) -> None:
    monkeypatch.setitem(COMMANDS, b"break", Builtin(run, "break"))


def test_an_unexpected_exception_is_status_70_and_a_line_in_the_log(
    bare: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(context: Context) -> None:
        context.out.write(b"before\n")
        raise ZeroDivisionError("one by none")

    with_command(monkeypatch, run)
    ran = sh(bare, "break; echo status goes on")
    assert ran == (
        0,
        b"before\nstatus goes on\n",
        "sh: internal error: ZeroDivisionError('one by none') (dmesg says where)\n",
    )
    assert sh(bare, "break").status == 70
    (line, _) = bare.log.messages("err")
    assert line.startswith("shell: unexpected ZeroDivisionError('one by none') at test_shell_running.py:")
    assert b"ZeroDivisionError" in out(bare, "dmesg")


def test_a_listener_that_is_gone_ends_the_shell(bare: Kernel) -> None:
    def gone(_: "bytes | memoryview") -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Shell(bare).run("echo a; echo b > /tmp/b", gone, gone)
    assert sh(bare, "cat /tmp/b").status == 1


def test_output_that_finds_no_room_is_a_write_error(bare: Kernel) -> None:
    bare.machine.storage.allocate(bare.machine.storage.free_bytes // 4096)
    assert sh(bare, "echo x > /tmp/x") == (1, b"", "echo: write error: No space left on device\n")
    assert sh(bare, "sh -c 'echo x' > /tmp/x") == (1, b"", "echo: write error: No space left on device\n")
    assert b"init: /etc/hostname cannot be written: real storage is full" in out(bare, "dmesg")


def test_errors_come_after_the_output_before_them(kernel: Kernel) -> None:
    heard: list[bytes | memoryview] = []
    Shell(kernel).run("cat /usr/lib/notes.txt /nosuch /usr/lib/notes.txt", heard.append, heard.append)
    assert [bytes(data) for data in heard] == [
        b"not a library\n",
        b"cat: /nosuch: No such file or directory\n",
        b"not a library\n",
    ]


def test_a_directory_that_went_away_below_the_shell(bare: Kernel) -> None:
    ran = sh(bare, "mkdir /tmp/d; cd /tmp/d; rmdir /tmp/d; ls; echo *; pwd; touch x")
    assert ran.out == b"*\n/tmp/d\n"
    assert ran.err == "touch: cannot touch 'x': No such file or directory\n"


def test_proc_and_tmp_are_mounted_when_they_are_needed(bare: Kernel) -> None:
    assert list(bare.vfs.mounts) == []
    assert bare.vfs.resolve(b"/proc/mounts").inode.is_regular
    assert [mount.at for mount in bare.vfs.mounts] == [b"/", b"/proc", b"/sys", b"/dev", b"/tmp"]
    assert out(bare, "ls / && cat /etc/hostname") == b"dev\netc\nmnt\nproc\nroot\nsys\ntmp\nLINUX\n"
    assert out(bare, "umount /tmp /sys /proc /dev; ls /; mount") == b"etc\nmnt\nroot\nrootfs on / type rootfs (rw)\n"
    with pytest.raises(KernelError):
        bare.vfs.resolve(b"/tmp")


def test_sleep_waits_as_long_as_its_words_come_to(bare: Kernel) -> None:
    waited: list[float] = []
    assert sh(bare, "sleep 1 .5 2. 1m; sh -c 'sleep 1h 1d 0s'", wait=waited.append) == (0, b"", "")
    assert [seconds for seconds in waited if seconds] == [63.5, 90000]
