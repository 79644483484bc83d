"""Random instructions leave in a guest what they leave under qemu-s390x: registers, memory, signals.

DCSS_INSTRUCTIONS has another seed, and how many cases of each instruction: `7 200`.
"""

import multiprocessing
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from cp_support import control_program as own_control_program
from guest_support import WRITE, guest_kernel
from instructions390_support import Case, Outcome, build, differ_in_nans, make_cases, outcomes, read_table
from needs_support import needs, tool

from vmguest.fs.open import O_RDONLY, O_WRONLY, open_file
from vmguest.fs.stream import OutputFile, open_stream
from vmguest.s390x.programs import Command, Programs

SEED, COUNT, KNOWN_COUNT = 2, 10, 150
STORAGE_BYTES = 256 << 20


class Known(NamedTuple):
    """Instructions that differ, in what, and why: docs/s390x-instructions.md tells users of the same."""

    mnemonics: str
    parts: frozenset[str]
    reason: str
    applies: Callable[[Case, Outcome, Outcome], bool]
    cases: int


def anywhere(_case: Case, _ours: Outcome, _theirs: Outcome) -> bool:
    """Whatever the operands are."""
    return True


def known(
    mnemonics: str,
    parts: str,
    reason: str,
    *,
    applies: Callable[[Case, Outcome, Outcome], bool] = anywhere,
    count: int = KNOWN_COUNT,
) -> Known:
    """Return a row of the table; `parts` are separated by commas, `count` is how many cases show the difference."""
    return Known(mnemonics, frozenset(parts.split(", ")), reason, applies, count)


def overflow(_case: Case, _ours: Outcome, theirs: Outcome) -> bool:
    """The result does not fit."""
    return theirs.state.program_mask >> 28 == 3


def mask_with_gap(case: Case, _ours: Outcome, _theirs: Outcome) -> bool:
    """ICM inserts the leftmost byte, and not one, two neighbours or all: CC takes the left half of the register in."""
    return case.mask in {0b0101, 0b0111, 0b1001, 0b1010, 0b1011, 0b1101, 0b1110}


def no_byte(case: Case, _ours: Outcome, _theirs: Outcome) -> bool:
    """CLM or ICM is about no byte, and so accesses none."""
    return case.mask == 0


def nans(_case: Case, ours: Outcome, theirs: Outcome) -> bool:
    """Both results are NaNs."""
    return differ_in_nans(ours, theirs)


_ARITHMETIC = """aebr sebr mebr debr adbr sdbr mdbr ddbr axbr sxbr mxbr dxbr mdebr mxdbr maebr madbr msebr msdbr
    aeb seb meeb deb adb sdb mdb ddb mdeb mxdb maeb madb mseb msdb meebr lxebr lxeb lxdbr lxdb ldebr ldeb ldxbr lexbr
    ledbr"""
_Z14_FORMS = """vsldb vftci vfs vfa vfm vfd vfch vfce vfche vllezb wfc wfk vfma vfms vfsq vfpso vfi"""
_ADDITIONS = "a ag agr ar s sg sgr sr shhhr shhlr ahhhr ahhlr srk sgrk ark agrk ay sy laa laag"
_TO_FIXED = "cfebr cfdbr cfxbr clfebr clfdbr clfxbr cgebr cgdbr cgxbr clgebr clgdbr clgxbr"
KNOWN: tuple[Known, ...] = (
    known("epsw", "general", "qemu-s390x has its own values in the part of the PSW that programs cannot set"),
    known("mc mvcos", "signal", "Linux tells a privileged operation; qemu-s390x takes MC for a wrong operand"),
    known("lae laey", "access", "the access register stays as it is"),
    known("lder", "floating", "the result is in register 2"),
    known("icm icmh icmy", "CC", "CC is wrong for some masks", applies=mask_with_gap),
    known("clm clmh clmy icm icmh icmy", "CC, signal", "a mask of zero accesses nothing", applies=no_byte),
    known(_ADDITIONS, "CC", "the overflow of the lowest number is not seen", applies=overflow),
    known(_TO_FIXED, "CC, FPC, general, signal", "numbers out of range: CC, inexact and the result of a NaN"),
    known(_ARITHMETIC, "floating", "another one of two NaNs is the result", applies=nans),
    known("madbr msdbr", "FPC", "underflow is found after rounding", count=1500),
    known("risblg risbhg", "general", "the wrong half of the register is inserted into"),
    known("locfhr", "general", "the left half of the second operand is not taken"),
    known("lzrf", "general, signal", "lacking"),
    known("lcbb", "general", "the left half of the register is cleared"),
    known("vstl", "floating, vector, memory, signal", "lengths above 15 are not taken for 15"),
    known("vistrb", "CC, floating, vector, signal", "the element size is taken from another field"),
    known("vsl vsrl vsra", "floating, vector", "the bytes of the amount differ, which is unpredictable"),
    known(_Z14_FORMS, "CC, FPC, floating, vector, signal", "forms of the z14"),
)
DONE_IN_SOFTWARE = ("sqxbr", "chrl", "cghrl", "clfit", "clgit")
# What ends qemu-s390x, or the emulator.
LEFT_OUT = frozenset({"rnsbg", "rosbg", "rxsbg"})


def under_qemu(program: Path) -> list[Outcome]:
    """Return what qemu-s390x leaves."""
    emulator = tool("qemu-s390x")
    assert emulator is not None
    done = subprocess.run([emulator, "-cpu", "max", program], check=False, capture_output=True, timeout=300)
    return list(outcomes(done.stdout))


def _run_guest(program: Path, written: Path) -> None:
    with own_control_program() as cp, guest_kernel(cp, storage_bytes=STORAGE_BYTES) as kernel:
        vfs, programs = kernel.vfs, Programs(kernel)
        with open_file(vfs, b"/tmp/program", WRITE, mode=0o755) as file:
            file.write(program.read_bytes())
        with written.open("wb", buffering=0) as output:

            def write(content: bytes) -> None:
                assert output.write(content) == len(content)

            streams = [open_file(vfs, b"/dev/null", O_RDONLY)]
            streams += [open_stream(vfs, OutputFile(write), O_WRONLY) for _ in range(2)]
            process = programs.start(Command((b"/tmp/program",), time_limit_seconds=300), streams)
            programs.run(lambda: process.exit_status is not None)
            programs.rest()


def in_a_guest(program: Path, written: Path) -> list[Outcome]:
    """Return what a guest of a process of its own leaves: an instruction may end the emulator."""
    child = multiprocessing.get_context("spawn").Process(target=_run_guest, args=(program, written))
    child.start()
    child.join()
    return list(outcomes(written.read_bytes()))


def explained(case: Case, ours: Outcome, theirs: Outcome) -> Known | None:
    """Return the row of the table that explains how an instruction differs."""
    parts = ours.differences(theirs)
    for row in KNOWN:
        if (
            case.instruction.mnemonic in row.mnemonics.split()
            and parts <= row.parts
            and row.applies(case, ours, theirs)
        ):
            return row
    return None


@pytest.mark.slow
@needs("s390x-linux-gnu-gcc", "qemu-s390x")
def test_they_leave_what_they_leave_under_qemu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed, count = (int(word) for word in os.environ.get("DCSS_INSTRUCTIONS", f"{SEED} {COUNT}").split())
    random, table = Random(seed), [each for each in read_table() if each.mnemonic not in LEFT_OUT]
    counts = {mnemonic: max(row.cases, count) for row in KNOWN for mnemonic in row.mnemonics.split()}
    counts |= dict.fromkeys(DONE_IN_SOFTWARE, max(KNOWN_COUNT, count))
    cases = make_cases(random, table, lambda each: counts.get(each.mnemonic, count))
    with capsys.disabled():
        print(f"\n{len(cases)} cases of {len(table)} instructions, seed {seed}")
    program = build(cases, tmp_path)
    wanted, found = under_qemu(program), in_a_guest(program, tmp_path / "written")
    assert len(wanted) == len(cases), f"qemu-s390x ended at {cases[len(wanted)]}"
    assert len(found) == len(cases), f"the guest ended at {cases[len(found)]}"
    seen, unexplained = set(), []
    for case, ours, theirs in zip(cases, found, wanted, strict=True):
        if ours.differences(theirs):
            row = explained(case, ours, theirs)
            seen.add(row)
            if row is None:
                unexplained.append(f"{case}: {', '.join(sorted(ours.differences(theirs)))}")
    assert not unexplained, "\n".join(unexplained)
    assert [row.mnemonics for row in KNOWN if row not in seen] == [], "what is equal now is no longer known to differ"
