"""`dcss exec --gdb`: the programs of the demo under the real gdb, over its private socket."""

import os
import re
import shlex
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_support import GUEST, SOURCE, Dcss, made_user, raw
from needs_support import needs

pytestmark = needs("gdb-multiarch")
PROGRAMS = Path(SOURCE, "configs/s390x-programs/root")
LOADED_AT = 0x100_0000  # where the linker puts a static program's file
SVC = LOADED_AT + (PROGRAMS / "bin/fib").read_bytes().index(b"\x0a\x00")  # all system calls: number in register 1
WRITE, EXIT_GROUP, SCHED_YIELD = 4, 248, 158
SECONDS = 300
_EXPECTED = {  # gdb has no file of the program, which has no table of how its functions save registers
    "warning: No executable has been specified and target does not support",
    'determining executable automatically.  Try using the "file" command.',
    "PC not saved",
}


class Debugged(NamedTuple):
    """What gdb and the program printed, and how the program ended."""

    gdb: list[str]
    output: str
    status: int


@pytest.fixture(scope="module")
def up() -> Iterator[Dcss]:
    with made_user() as user:
        segment = f"  - {{name: ZBIN, at: 0x20000000, image: {{directory: {PROGRAMS}}}}}"
        user("up", user.config(f"name: Z, engine: s390x, {GUEST}", segment=segment), "-d")
        yield user
        user("down")


def start(up: Dcss, *words: str) -> "tuple[subprocess.Popen[str], list[str]]":
    """Start a program that waits for gdb; return how to start that."""
    pipe = subprocess.PIPE
    command = ("exec", "Z", "--gdb", "--", *words)
    process = up.start(*command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    line = raw(process.stderr).readline().decode()
    assert line.startswith("waiting for gdb: "), line
    return process, shlex.split(line.removeprefix("waiting for gdb: "))


def debug(up: Dcss, *words: str, commands: list[str], svc: int = SVC) -> Debugged:
    """Run a program under gdb, which is given commands; `$svc` is where the program makes its system calls."""
    process, gdb = start(up, *words)
    with process:
        settings = ["set width 0", "set pagination off", "set confirm off"]
        script = [*gdb[1:], "-ex", f"set $svc = {svc:#x}", *(word for each in commands for word in ("-ex", each))]
        done = subprocess.run(
            [gdb[0], "-nx", "-batch", *(word for each in settings for word in ("-ex", each)), *script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            text=True,
            check=False,
        )
        output, errors = process.communicate(timeout=SECONDS)
    assert not errors, errors
    assert not set(done.stderr.splitlines()) - _EXPECTED, done.stderr
    return Debugged(done.stdout.splitlines(), output, process.returncode)


def values(debugged: Debugged) -> list[str]:
    """Return what gdb's `print` and `output` commands said."""
    return [line.partition(" = ")[2] for line in debugged.gdb if re.match(r"\$\d+ = ", line)]


def svc_of(program: str) -> int:
    """Return where a program makes its system calls."""
    return LOADED_AT + (PROGRAMS / "bin" / program).read_bytes().index(b"\x0a\x00")


def test_the_socket_is_private_and_goes_with_the_command(up: Dcss) -> None:
    process, gdb = start(up, "fib", "5")
    with process:
        assert gdb[-3] == "set remotetimeout 60"  # of itself gdb gives a guest two seconds for its turn
        path = Path(gdb[-1].removeprefix("target remote "))
        directory = path.parent.stat()
        assert (directory.st_uid, stat.S_IMODE(directory.st_mode)) == (os.geteuid(), 0o700)
        assert path.is_socket()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
    assert not path.parent.exists()


def test_a_program_begins_with_its_first_instruction_and_its_arguments(up: Dcss) -> None:
    entry = int.from_bytes((PROGRAMS / "bin/fib").read_bytes()[24:32], "big")
    begun = debug(
        up,
        *("fib", "11"),
        commands=[
            *("print/x $pc", "print *(long *)$r15", "print (char *)*(long *)($r15 + 16)"),
            *("stepi", "print $r2 == $r15", "stepi", "print $r2 - $r15", "print/x $pc", "continue"),
        ],
    )
    first, argc, argument, same, size, after = values(begun)
    assert (int(first, 16), argc, same, size) == (entry, "2", "1", "160")
    assert argument.endswith('"11"')
    assert int(after, 16) == entry + 4 + 4
    assert (begun.output, begun.status) == ("89\n", 0)


def test_a_breakpoint_shows_registers_and_memory_and_what_is_changed_counts(up: Dcss) -> None:
    stopped = debug(
        up,
        *("fib", "10"),
        commands=[
            *(f"break *$svc if $r1 == {WRITE}", "continue", "print $r2", "print $r4", "print *(char *)$r3@2"),
            *("print $pc == $svc", "x/1i $pc", "set var *(char *)$r3 = '7'"),
            *("stepi", "print (long)$pc - $svc", "print $r2", "delete"),
            *(f"break *$svc if $r1 == {EXIT_GROUP}", "continue", "set var $r2 = 7", "continue", "print $_exitcode"),
        ],
    )
    assert values(stopped) == ["1", "3", '"55"', "1", "2", "3", "7"]
    assert any(re.search(r"=> 0x10[0-9a-f]+:\s+svc\s+0$", line) for line in stopped.gdb)
    assert (stopped.output, stopped.status) == ("75\n", 7)


def test_a_breakpoint_in_a_loop_stops_each_time(up: Dcss) -> None:
    stopped = debug(
        up,
        *("repeat", "call", "5"),
        svc=svc_of("repeat"),
        commands=["break *$svc", *(["continue"] * 3), "info breakpoints", "delete", "continue"],
    )
    assert any("already hit 3 times" in line for line in stopped.gdb)
    assert stopped.status == 0


def test_the_thread_that_came_to_a_breakpoint_is_shown_and_goes_on_alone(up: Dcss) -> None:
    stopped = debug(
        up,
        *("threads", "200"),
        svc=svc_of("threads"),
        commands=[
            *(f"break *$svc if $r1 == {SCHED_YIELD}", "continue", "print $pc == $svc", "print $_thread > 1"),
            *("print $acr1 != 0", "info threads", "delete", "set scheduler-locking on", "stepi"),
            *(
                "print (long)$pc - $svc",
                "print $r2",
                "set scheduler-locking off",
                "thread 1",
                "print $acr1",
                "continue",
            ),
        ],
    )
    assert values(stopped) == ["1", "1", "1", "2", "0", "0"]
    assert sum("Thread" in line and "0x" in line for line in stopped.gdb) >= 2
    assert "sum 800" in stopped.output
    assert stopped.status == 0


@pytest.mark.parametrize(
    ("command", "output", "status"),
    [
        ("continue", "signal 11 si_code 1\n", 111),
        ("signal SIGILL", "signal 4 si_code 0\n", 104),
    ],
)
def test_a_signal_stops_the_program_and_gdb_says_which_one_it_gets(
    up: Dcss, command: str, output: str, status: int
) -> None:
    stopped = debug(up, "fault", "-h", "wild", commands=["continue", command])
    assert any("SIGSEGV" in line for line in stopped.gdb)
    assert (stopped.output, stopped.status) == (output, status)


@pytest.mark.parametrize(
    ("commands", "shown", "output"),
    [
        (["continue", "continue"], True, ""),
        (["handle SIGABRT nostop noprint pass", "continue"], False, ""),
        (["continue", "signal 0"], True, "nothing went wrong\n"),
    ],
)
def test_a_signal_that_is_sent_stops_the_program_and_gdb_may_take_it(
    up: Dcss, commands: list[str], shown: bool, output: str
) -> None:
    stopped = debug(up, "fault", "abort", commands=commands)
    assert any("received signal SIGABRT" in line for line in stopped.gdb) == shown
    assert stopped.output == output
    assert (stopped.status == 128 + signal.SIGABRT) == (not output)


def test_gdb_is_told_which_signal_ended_the_program(up: Dcss) -> None:
    ended = debug(up, "fault", "abort", commands=["continue", "continue"])
    assert any("terminated with signal SIGABRT" in line for line in ended.gdb)
    assert ended.status == 128 + signal.SIGABRT


def test_gdb_leaves_and_the_program_goes_on_without_breakpoints(up: Dcss) -> None:
    left = debug(up, "fib", "12", commands=["break *$svc", "continue", "detach"])
    assert (left.output, left.status) == ("144\n", 0)


def test_gdb_kills_the_program(up: Dcss) -> None:
    killed = debug(up, "loop", commands=["kill"])
    assert killed.status == 128 + signal.SIGKILL


def test_gdb_stops_a_program_that_computes(up: Dcss) -> None:
    process, gdb = start(up, "loop")
    command = [gdb[0], "-nx", "-q", *gdb[1:]]
    pipe = subprocess.PIPE
    with process, subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as debugger:
        assert debugger.stdin is not None
        debugger.stdin.write("continue\n")
        debugger.stdin.flush()
        assert raw(process.stdout).readline() == b"looping\n"
        debugger.send_signal(signal.SIGINT)
        output, _ = debugger.communicate("print $pc >= 0x1000000\nkill\n", timeout=SECONDS)
        process.communicate(timeout=SECONDS)
    assert "SIGINT" in output
    assert "$1 = 1" in output
    assert process.returncode == 128 + signal.SIGKILL


def test_gdb_watches_memory_by_single_steps(up: Dcss) -> None:
    watched = debug(
        up,
        *("args", "word"),
        svc=svc_of("args"),
        commands=[
            *("set can-use-hw-watchpoints 0", "break *$svc", "continue", "set $text = (char *)$r3"),
            *("delete", "watch *$text", "continue", "delete", "continue"),
        ],
    )
    assert any(line.startswith("Old value = ") for line in watched.gdb)
    assert any(line.startswith("New value = ") for line in watched.gdb)
    assert watched.status == 0
