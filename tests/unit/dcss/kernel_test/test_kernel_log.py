"""What the bench takes from a kernel's log: the first lines of reports, and the part that tells what happened."""

import pytest

from dcss.kernel_test.kernel_log import EXCERPT_BYTES, excerpt, first_report, reports

QUIET = (
    "cp: DIAG X'64' 20 'LIB': cc 0, 0x10000000, 0x10ffffff\n[   22.792067] dcssblk: DAX support enabled for DCSS LIB\n"
)
KASAN = "BUG: KASAN: use-after-free in dcssblk_add_store+0x1a0/0xb80 [dcssblk]"
FILLER = "[   30.000000] dcssblk: All DCSSs that map to device LIB are saved\n" * 300


@pytest.mark.parametrize(
    "said",
    [
        KASAN,
        "WARNING: possible recursive locking detected",
        "WARNING: mm/memremap.c:158 at memremap_pages+0x4b0/0x648, CPU#0: sh/152",
        "INFO: task sh:95 blocked for more than 5 seconds.",
        "Oops: 0010 ilc:3 [#1] SMP",
        "kernel BUG at lib/list_debug.c:30!",
        "Kernel panic - not syncing: sysrq triggered crash",
        "Unable to handle kernel pointer dereference in virtual kernel address space",
        "sysfs: cannot create duplicate filename '/devices/dcssblk/LIB'",
        "list_add corruption. prev->next should be next (0000), but was 0001.",
    ],
)
@pytest.mark.parametrize("stamp", ["", "[   24.006250] ", "[   24.006250][  T152] "])
def test_a_report_is_told_by_its_first_line(said: str, stamp: str) -> None:
    log = f"{QUIET}{stamp}{said}\r\n[   24.1] Call Trace:\n"
    assert reports(log) == (said,)
    assert first_report(log) == len(QUIET)


def test_a_log_without_a_report_has_none() -> None:
    assert reports(QUIET) == ()
    assert first_report(QUIET) is None
    assert excerpt(QUIET) == QUIET


def test_reports_that_differ_in_numbers_alone_are_told_once_and_the_first_ones() -> None:
    pages = "".join(f"[ 1.{page}] BUG: Bad page map in process busybox  pte:80{page:x}a\n" for page in range(100))
    different = "".join(f"BUG: fault of {'x' * number}\n" for number in range(20))
    found = reports(pages + different)
    assert found[0] == "BUG: Bad page map in process busybox  pte:800a"
    assert len(found) == 8
    assert found[1] == "BUG: fault of"


def test_an_excerpt_has_a_report_from_its_begin_on_and_the_end() -> None:
    cut = "[   24.006010] ------------[ cut here ]------------\n[   24.006146] Conflicting mapping in same section\n"
    log = f"{FILLER}{cut}[   24.006250] {KASAN}\n{FILLER}the end\n"
    part = excerpt(log)
    assert part.startswith(cut)
    assert "\n…\n" in part
    assert part.endswith("the end\n")
    assert len(part) <= 2 * EXCERPT_BYTES + 3


def test_an_excerpt_of_a_report_at_the_end_is_whole() -> None:
    assert excerpt(f"{KASAN}\nCall Trace:\n{FILLER[:9000]}") == f"{KASAN}\nCall Trace:\n{FILLER[:9000]}"
    log = f"{FILLER}{KASAN}\nCall Trace:\n"
    assert excerpt(log) == log[-EXCERPT_BYTES:]
