"""What programs of engine s390x take, beside qemu-s390x's emulation of one process, and Unicorn without a guest."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.framework.machine import ROOT
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.session import Session

PROGRAMS = ROOT / "configs/s390x-programs/root"
QEMU, UNICORN = "qemu-s390x", "bare Unicorn"
GUEST = "Z"
MICROSECONDS = 1e6

CONFIG = """\
system: {system}
segments:
  - {{name: PROG, at: 0x40000000, type: SR, image: {{directory: {programs}}}}}
guests:
  - name: {guest}
    engine: s390x
    storage: 128M
    mounts: [{{device: dcssblk0, at: /, options: [ro, xip]}}]
"""

Run = Callable[..., float]  # runs a program with its words, returns the seconds


def run(session: Session) -> list[Row]:
    """Run the same programs in a guest, under qemu-s390x and on Unicorn alone."""
    loop, calls, forks, switches = session.pick(quick=(24, 20_000, 200, 2_000), full=(28, 200_000, 2_000, 20_000))
    specs = [
        RowSpec("fib", "s", "time", f"fib {loop}: calls and branches", "its start", wanted_ratio=(UNICORN, 1.1)),
        RowSpec("sieve", "s", "time", "a sieve of primes: loads and stores", "its start", wanted_ratio=(UNICORN, 1.1)),
        RowSpec("system call", "µs", "time", f"getpid, of {calls} in a row", "its program's start", wanted_most=10),
        RowSpec("fork", "µs", "time", f"fork, exit and wait of a small program, of {forks}", "its program's start"),
        RowSpec("switch", "µs", "time", f"two system calls and a switch, of {switches} there and back", "the start"),
        RowSpec(
            "start",
            "s",
            "time",
            "from the command to its exit status; dcss exec asks a guest that runs",
            wanted_ratio=(QEMU, 5),
        ),
    ]
    with session.directory("programs") as directory:
        system = f"programs-{session.name}"
        config = directory / "programs.yaml"
        config.write_text(CONFIG.format(system=system, programs=PROGRAMS, guest=GUEST))

        def ours() -> Sample:
            with session.served("system", str(config)):
                return _sample(
                    lambda *words: _timed(lambda: _in_guest(session, system, words)), loop, calls, forks, switches
                )

        def qemu() -> Sample:
            emulator = shutil.which("qemu-s390x") or shutil.which("qemu-s390x-static")
            if emulator is None:
                raise Unavailable("qemu-s390x is not installed")

            def execute(*words: str) -> float:
                return _timed(lambda: session.run(emulator, str(PROGRAMS / "bin" / words[0]), *words[1:], discard=True))

            return _sample(execute, loop, calls, forks, switches)

        def bare() -> Sample:
            return {"fib": _on_unicorn(session, "fib", str(loop)), "sieve": _on_unicorn(session, "sieve")}

        rounds = session.pick(quick=1, full=5)
        return compare("programs", specs, {"dcss": ours, QEMU: qemu, UNICORN: bare}, rounds=rounds)


def _sample(execute: Run, loop: int, calls: int, forks: int, switches: int) -> Sample:
    start = min(execute("hello") for _ in range(3))

    def each(words: tuple[str, ...], count: int) -> float:
        return max(execute(*words) - start, 0.0) / count

    return {
        "fib": each(("fib", str(loop)), 1),
        "sieve": each(("sieve",), 1),
        "system call": each(("repeat", "call", str(calls)), calls) * MICROSECONDS,
        "fork": each(("repeat", "fork", str(forks)), forks) * MICROSECONDS,
        "switch": each(("repeat", "switch", str(switches)), 2 * switches) * MICROSECONDS,
        "start": start,
    }


def _timed(function: Callable[[], object]) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began


def _in_guest(session: Session, system: str, words: tuple[str, ...]) -> None:
    session.dcss("exec", "--system", system, GUEST, "--", f"/bin/{words[0]}", *words[1:], discard=True)


def _on_unicorn(session: Session, *words: str) -> float:
    program = Path(__file__).resolve().parents[1] / "programs" / "bare_unicorn.py"
    return float(session.run(sys.executable, program, PROGRAMS / "bin" / words[0], *words[1:]))
