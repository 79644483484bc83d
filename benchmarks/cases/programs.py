"""Small programs of engine s390x beside qemu-s390x's emulation of one process, and Unicorn without a guest."""

import json
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.framework.machine import ROOT
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.session import Session
from dcss.account.cpu import cpu_seconds

PROGRAMS = ROOT / "configs/s390x-programs/root"
QEMU, UNICORN = "qemu-s390x", "bare Unicorn"
GUEST = "Z"
LIMITED = "time limit"  # a row: a step of a guest of its own; another such guest tells what its start takes
STARTS = 3
MICROSECONDS = 1e6
CONFIG = """\
system: {system}
segments:
  - {{name: PROG, at: 0x40000000, type: SR, image: {{directory: {programs}}}}}
x-guest: &guest
  engine: s390x
  storage: 128M
  mounts: [{{device: dcssblk0, at: /, options: [ro, xip]}}]
guests:
  - {{<<: *guest, name: {guest}}}
  - {{<<: *guest, name: LIMITED, time_limit: 3600, run: [exec: {limited}]}}
  - {{<<: *guest, name: STARTED, time_limit: 3600, run: [exec: [hello]]}}
"""

Execute = Callable[..., float]  # runs a program with its words, returns the seconds of CPU
Workloads = Mapping[str, tuple[str, ...]]  # rows, and the words of what each runs: work for the processor alone
_KINDS = (
    "calls and branches",
    "loads and stores",
    "multiplications and additions of doubles",
    "copies of 256 bytes, and loads and stores in and out of order",
    "functions by their addresses",
)


class Counts(NamedTuple):
    """How often programs do a thing: long enough that their start, which is subtracted, does not matter."""

    calls: int
    forks: int
    switches: int


def run(session: Session) -> list[Row]:
    """Run the same programs in a guest, under qemu-s390x and on Unicorn alone."""
    workloads = _workloads(session)
    ours_counts = session.pick(quick=Counts(40_000, 400, 2_000), full=Counts(300_000, 3_000, 40_000))
    qemu_counts = session.pick(quick=Counts(400_000, 100, 10_000), full=Counts(4_000_000, 1_000, 100_000))
    start = "the program's start; other processes, as that of `dcss exec`"
    specs = [
        *(
            RowSpec(name, "s", "cpu", f"`{' '.join(words)}`: {what}", start, wanted_ratio=(UNICORN, 1.1))
            for (name, words), what in zip(workloads.items(), _KINDS, strict=True)
        ),
        RowSpec(
            LIMITED,
            "s",
            "cpu",
            f"`{' '.join(workloads['sieve'])}` as a step that `time_limit:` ends at some time",
            "the start of program and guest",
            wanted_ratio=(UNICORN, 1.1),
        ),
        RowSpec("system call", "µs", "cpu", "one getpid of many in a row", start, wanted_most=10),
        RowSpec("fork", "µs", "cpu", "fork, exit and wait of a small program", start, wanted_most=500),
        RowSpec("switch", "µs", "cpu", "a byte through a pipe to another process: write, read and a switch", start),
    ]
    wall = RowSpec(
        "command", "s", "time", "`hello` from the command to its exit status; dcss exec asks a guest that runs"
    )
    with session.directory("programs") as directory:
        system = f"programs-{session.name}"
        config = directory / "programs.yaml"
        limited = json.dumps(workloads["sieve"])
        config.write_text(CONFIG.format(system=system, programs=PROGRAMS, guest=GUEST, limited=limited))

        def sampled(execute: Execute, counts: Counts) -> Sample:
            sample = _sample(execute, workloads, counts)
            if session.quick:
                return sample
            return {**sample, wall.name: statistics.median(_timed(lambda: execute("hello")) for _ in range(STARTS))}

        def ours() -> Sample:
            with session.served("system", str(config)) as served:
                pid, limited, started = served.ready["pids"]
                step = cpu_seconds(limited) - cpu_seconds(started)
                return {**sampled(guest_execute(session, system, GUEST, pid), ours_counts), LIMITED: step}

        def qemu() -> Sample:
            emulator = qemu_s390x()
            sample = sampled(
                lambda name, *words: children_cpu(
                    lambda: session.run(emulator, PROGRAMS / "bin" / name, *words, discard=True)
                ),
                qemu_counts,
            )
            return {**sample, LIMITED: sample["sieve"]}

        def bare() -> Sample:
            sample: dict[str | tuple[str, str], float] = {
                name: _on_unicorn(session, *words) for name, words in workloads.items()
            }
            return {**sample, LIMITED: sample["sieve"]}

        return compare(
            "programs",
            specs if session.quick else [*specs, wall],
            {"dcss": ours, QEMU: qemu, UNICORN: bare},
            rounds=session.pick(quick=3, full=7),
            warm_up=False,
        )


def _workloads(session: Session) -> Workloads:
    """Return what each row runs: a few tenths of a second in a guest, in full mode."""
    number, limit = session.pick(quick=(31, 3_000_000), full=(34, 20_000_000))
    points, rounds, trees = session.pick(quick=(30_000, 1_000, 1_000), full=(300_000, 5_000, 5_000))
    return {
        "fib": ("fib", str(number)),
        "sieve": ("sieve", str(limit)),
        "float": ("compute", "float", str(points)),
        "memory": ("compute", "memory", str(rounds)),
        "calls": ("compute", "calls", str(trees)),
    }


def qemu_s390x() -> str:
    """Return where qemu-s390x is. Raises Unavailable."""
    found = shutil.which("qemu-s390x") or shutil.which("qemu-s390x-static")
    if found is None:
        raise Unavailable("needs qemu-s390x (Debian: qemu-user)")
    return found


def guest_execute(session: Session, system: str, guest: str, pid: int) -> Execute:
    """Return what runs a program in a guest, whose process is `pid`, and tells how much CPU that took there."""

    def execute(*words: str) -> float:
        before = cpu_seconds(pid)
        session.dcss("exec", "--system", system, guest, "--", *words, discard=True)
        return cpu_seconds(pid) - before

    return execute


def children_cpu(function: Callable[[], object]) -> float:
    """Return the CPU time of the processes that a function starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    function()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _timed(function: Callable[[], object]) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began


def _sample(execute: Execute, workloads: Workloads, counts: Counts) -> dict[str | tuple[str, str], float]:
    start = statistics.median(execute("hello") for _ in range(STARTS))

    def each(times: int, *words: str) -> float:
        return max(execute(*words) - start, 0.0) / times

    loops: dict[str | tuple[str, str], float] = {name: each(1, *words) for name, words in workloads.items()}
    return {
        **loops,
        "system call": each(counts.calls, "repeat", "call", str(counts.calls)) * MICROSECONDS,
        "fork": each(counts.forks, "repeat", "fork", str(counts.forks)) * MICROSECONDS,
        "switch": each(2 * counts.switches, "repeat", "switch", str(counts.switches)) * MICROSECONDS,
    }


def _on_unicorn(session: Session, name: str, *words: str) -> float:
    program = Path(__file__).resolve().parents[1] / "programs" / "bare_unicorn.py"
    return float(session.run(sys.executable, program, PROGRAMS / "bin" / name, *words))
