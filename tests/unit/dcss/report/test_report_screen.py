"""Pages as text: whole pages against stored ones, and each rule by itself.

Stored pages are rendered at 100 columns without colour. After a wanted change: DCSS_GOLDEN=write pytest this file,
and read the difference.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from results_support import HIDDEN, made_up_run

from dcss.report.blocks import Column, Table, count_cell, text_cell
from dcss.report.layout import cell_columns, render_block, render_page
from dcss.report.measure_view import guest_blocks
from dcss.report.pages import measure_page, run_page, up_page, verify_page
from dcss.report.style import Style
from dcss.results import Claim, GuestOutcome, MountAccess, RunResult, SystemStatus, Totals, VerifyResult

GOLDEN = Path(__file__).parent / "golden"
PLAIN = Style(width=100)
COLOURED = Style(color=True, width=100)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def run_screen(result: RunResult, style: Style, *, show_all: bool = False) -> str:
    return render_page(run_page(result, show_all=show_all), style)


def verify_screen(result: VerifyResult, style: Style) -> str:
    return render_page(verify_page(result), style)


def refuted_run() -> RunResult:
    run = made_up_run()
    files = (replace(run.verify.files[0], shared=False, distinct_frames=8004), *run.verify.files[1:])
    detail = "LINUX03: 4 pages of /usr/lib/libc.so.6 stand in frames of their own, the first is page 17"
    claims = (Claim("one-frame-per-page", False, detail), *run.verify.claims[1:])
    outcomes = (GuestOutcome("LINUX01", 1, 0.4, "line one\nOSError: [Errno 12] no storage"), *run.guests[1:])
    return replace(
        run,
        verify=replace(run.verify, verdict="refuted", claims=claims, files=files),
        guests=(*outcomes[:1], replace(outcomes[1], exit_status=-9), *outcomes[2:]),
        warnings=("demo.yaml:9: segment DATA is loaded by no guest",),
    )


PAGES = {
    "verified": lambda: run_screen(made_up_run(), PLAIN),
    "mappings": lambda: run_screen(made_up_run(frames=False), PLAIN),
    "hundred": lambda: run_screen(made_up_run(100, 0), PLAIN),
    "refuted": lambda: run_screen(refuted_run(), PLAIN),
    "all": lambda: run_screen(made_up_run(18, 0), PLAIN, show_all=True),
}


@pytest.mark.parametrize("name", PAGES)
def test_whole_page(name: str) -> None:
    text = PAGES[name]() + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("DCSS_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def amounts(line: str) -> list[float]:
    return [float(word.replace(",", "")) for word in re.findall(r"[0-9,]+\.[0-9]{2}", line)]


@pytest.mark.parametrize("name", ["verified", "hundred", "all", "refuted"])
def test_every_line_of_the_table_adds_up_as_printed(name: str) -> None:
    lines = [line for line in PAGES[name]().splitlines() if " + " in line and " = " in line]
    assert len(lines) >= 6
    for line in lines:
        private, shared, total, _ = amounts(line)
        assert round(private + shared, 2) == total


def test_the_two_sums_differ_by_what_is_saved() -> None:
    run = made_up_run(100, 0)
    lines = run_screen(run, PLAIN).splitlines()
    alone = amounts(next(line for line in lines if line.startswith("each counted alone")))
    once = amounts(next(line for line in lines if line.startswith("shared counted once")))
    assert run.measure.totals.saved_bytes is not None
    assert alone[0] == once[0]
    assert round(alone[2] - once[2], 2) == round(run.measure.totals.saved_bytes / (1 << 20), 2)
    assert sum(amounts(line)[1] for line in lines if line.startswith(("LINUX", "97 more"))) == alone[1]


def test_cells_keep_the_bytes_behind_their_text() -> None:
    measure = made_up_run().measure
    table = guest_blocks(measure, show_all=False)[1]
    assert isinstance(table, Table)
    first, account = table.rows[0], measure.guests[0]
    private_bytes, shared_bytes = account.host.uss_bytes, account.mapped_segment_bytes
    assert private_bytes is not None
    assert shared_bytes is not None
    values = ["LINUX01", "process", private_bytes, shared_bytes, private_bytes + shared_bytes, 12288]
    assert [cell.value for cell in first] == values
    hidden = guest_blocks(made_up_run(frames=False).measure, show_all=False)[1]
    assert isinstance(hidden, Table)
    assert [cell.value for cell in hidden.rows[0]][2:5] == [None, shared_bytes, None]


def test_the_verdict_is_the_first_word() -> None:
    assert run_screen(made_up_run(), PLAIN).startswith("VERIFIED  demo: 8 guests share 6 files, 93.8 MiB, each page in")
    assert run_screen(refuted_run(), PLAIN).startswith("REFUTED  demo: one-frame-per-page does not hold\n\n")


def test_the_verdict_is_the_last_line_of_a_run_too() -> None:
    for run in (made_up_run(), refuted_run()):
        lines = run_screen(run, Style()).splitlines()
        assert lines[-1] == lines[0]


def test_unproved_names_what_could_not_be_judged() -> None:
    verify = made_up_run().verify
    nothing = replace(verify, verdict="unproved", claims=(Claim("one-frame-per-page", None, "nothing"),), files=())
    assert verify_screen(nothing, PLAIN).startswith("UNPROVED  demo: one-frame-per-page could not be judged\n")
    alone = replace(nothing, claims=(Claim("one-frame-per-page", None, "nobody", applies=False),))
    page = verify_screen(alone, PLAIN)
    assert page.startswith("UNPROVED  demo: there is no guest to judge\n")
    assert "one-frame-per-page  does not apply: nobody" in page


def failed_run(guests: int, failed: int) -> RunResult:
    run = made_up_run(guests, 0)
    outcomes = [GuestOutcome(each.name, 1, 0.4, f"{each.name}: /b: matches no file") for each in run.guests[:failed]]
    verify = replace(run.verify, hints=("guests LINUX01 and more: failed",))
    return replace(run, verify=verify, guests=(*outcomes, *run.guests[failed:]))


def test_hints_stand_before_the_reasons_of_claims() -> None:
    many = tuple(f"system.yaml:{line}: mounts[0]: without xip" for line in range(8))
    for page in (verify_page, lambda result: run_page(replace(made_up_run(), verify=result))):
        lines = render_page(page(replace(refuted_run().verify, hints=many)), PLAIN).splitlines()
        assert lines[2] == "look at   system.yaml:0: mounts[0]: without xip"
        assert lines[7:9] == ["          and 3 more hints (-v shows all)", ""]


def test_a_guest_that_never_ran_ended_after_no_time() -> None:
    ran, never = GuestOutcome("A", 71, 14.8, "it panicked"), GuestOutcome("B", 71, 0.0, "fork: no more")
    screen = run_screen(replace(made_up_run(2, 0), guests=(ran, never)), PLAIN)
    assert "A: ended with status 71 after 14.8 s" in screen
    assert "B: did not run\n" in screen


def test_a_verdict_is_not_green_where_guests_failed() -> None:
    green, yellow = "\x1b[1;32mVERIFIED", "\x1b[33mVERIFIED"
    assert run_screen(made_up_run(), COLOURED).startswith(green)
    assert run_screen(failed_run(8, 1), COLOURED).startswith(yellow)


def test_guests_that_failed_are_not_ready_and_their_common_reason_comes_once_and_first() -> None:
    screen = run_screen(failed_run(100, 99), PLAIN)
    assert "1 guest ready and 99 failed in " in screen
    assert "FAILED    99 guests for the same reason: /b: matches no file\n\nFAILED    LINUX001:" in screen
    assert "and 99 failed" not in run_screen(made_up_run(), PLAIN)


def test_sharing_that_costs_more_than_copies_says_so() -> None:
    run = made_up_run()
    (segment,) = run.measure.segments
    costly = replace(
        run.measure,
        totals=Totals(27 << 20, 19 << 20, -(8 << 20)),
        segments=(replace(segment, resident_bytes=27 << 20, unused_bytes=17 << 20),),
    )
    said = "Costs 8.0 MiB more: 27.0 MiB with sharing, 19.0 MiB without; no guest uses 17.0 MiB of LIB\n"
    assert said in run_screen(replace(run, measure=costly), PLAIN)


def test_the_headline_counts_what_two_guests_map() -> None:
    verify = made_up_run().verify
    one, two, *_ = verify.files
    apart = (replace(one, guests=("LINUX01",)), replace(two, guests=("LINUX02",)))
    page = verify_screen(replace(verify, files=apart), PLAIN)
    assert page.startswith("VERIFIED  demo: every claim that applies holds; no two guests map the same file\n")
    some = (*apart, *verify.files[2:3])
    page = verify_screen(replace(verify, files=some), PLAIN)
    assert page.startswith("VERIFIED  demo: 8 guests share 1 file, 15.6 MiB, each page in one frame\n")


def test_unknown_is_never_zero() -> None:
    run = made_up_run(frames=False)
    measure = replace(run.measure, totals=Totals(None, None, None), machine=None)
    page = render_page(measure_page(measure), PLAIN)
    row = next(line for line in page.splitlines() if line.startswith("LINUX01"))
    assert row.split() == ["LINUX01", "process", "n/a", "+", "93.75", "=", "n/a", "0.01"]
    assert "Saved n/a" in page
    assert HIDDEN.split(";")[0] in page


def test_colour_changes_nothing_but_colour() -> None:
    for run in (made_up_run(), refuted_run(), made_up_run(100)):
        coloured = run_screen(run, COLOURED)
        assert ESCAPES.sub("", coloured) == run_screen(run, PLAIN)
        assert coloured != run_screen(run, PLAIN)


def test_a_wide_table_folds_text_in_its_last_column() -> None:
    columns = (Column("NAME"), Column("COUNT", right=True), Column("WHERE"))
    rows = (
        (text_cell("A"), count_cell(1), text_cell("here and there and " + "x" * 50)),
        (text_cell("B"), count_cell(2), text_cell("")),
    )
    assert render_block(Table(columns, rows), Style(width=40)) == [
        "NAME   COUNT   WHERE",
        "A          1   here and there and",
        "               " + "x" * 50,
        "B          2",
    ]
    assert render_block(Table(columns, rows), Style())[1] == "A          1   here and there and " + "x" * 50


@pytest.mark.parametrize("width", [80, 120])
def test_no_sentence_is_wider_than_the_screen(width: int) -> None:
    status = SystemStatus("demo", "up", 5, "2026-05-03T10:00:00Z", "/d.yaml", "/run/cp.log", (), ())
    run = made_up_run()
    unused = replace(run, measure=replace(run.measure, segments=run.measure.segments * 9))
    for page in (run_page(unused), up_page(status, 1.5, "its next step is " + "a " * 90)):
        screen = render_page(page, Style(width=width))
        assert [line for line in screen.splitlines() if cell_columns(line) > width] == []


def test_no_table_line_depends_on_the_width() -> None:
    def tables(width: int | None) -> list[str]:
        page = run_screen(made_up_run(), Style(width=width))
        return [line for line in page.splitlines() if re.match(r"(LINUX|BASE|LIB|GUEST|SEGMENT|each|shared)", line)]

    assert tables(40) == tables(80) == tables(None)


def test_prose_is_wrapped_at_the_width_and_not_at_all_without_one() -> None:
    run = made_up_run(frames=False)
    prose = [
        line
        for line in run_screen(run, Style(width=60)).splitlines()
        if re.match(r"(VERIFIED|  [✓✗?]|proved|limited|measured|checked|took|  {10})", line)
    ]
    assert prose
    assert max(map(len, prose)) <= 60
    assert f"  ? books-close         {HIDDEN}" in run_screen(run, Style()).splitlines()


def test_marks_are_ascii_where_the_stream_is() -> None:
    page = run_screen(refuted_run(), Style(unicode=False))
    assert page.isascii()
    assert "\n  x one-frame-per-page" in page
    assert "\n  + no-hidden-copies" in page


def test_what_is_not_shared_is_listed_even_without_verbose() -> None:
    assert "✗   4,000     4,000    8,004        8   LIB       /usr/lib/libc.so.6" in run_screen(refuted_run(), PLAIN)
    assert "/usr/lib/libm.so.6" not in run_screen(refuted_run(), PLAIN)
    assert "/usr/lib/libm.so.6" in run_screen(refuted_run(), PLAIN, show_all=True)


def test_many_failures_are_counted() -> None:
    run = made_up_run(20, 0)
    run = replace(run, guests=tuple(replace(guest, exit_status=1) for guest in run.guests))
    assert "and 15 more guests (-v shows all)" in run_screen(run, PLAIN)
    assert run_screen(run, PLAIN, show_all=True).count("FAILED") == 20


def test_a_system_without_guests_has_a_page() -> None:
    run = made_up_run(0, 0)
    assert run_screen(replace(run, guests=()), PLAIN).startswith("VERIFIED")


def test_names_and_logs_cannot_move_the_cursor() -> None:
    run = refuted_run()
    files = (replace(run.verify.files[0], path="/a\n\x1b[2J\udcff.so"), *run.verify.files[1:])
    outcomes = (replace(run.guests[0], log="\x1b]0;title\x07boo\r"), *run.guests[1:])
    page = run_screen(replace(run, verify=replace(run.verify, files=files), guests=outcomes), PLAIN)
    assert "\x1b" not in page
    assert "\r" not in page
    assert "LIB       /a\\n\\x1b[2J\udcff.so\n" in page


def test_many_limits_are_counted_and_one_of_both_sides_is_shown_once() -> None:
    run = made_up_run()
    limits = tuple(f"guest A{number}: odd" for number in range(9))
    run = replace(run, verify=replace(run.verify, limits=limits[:4]), measure=replace(run.measure, limits=limits))
    page = run_screen(run, PLAIN)
    assert page.count("limited by   guest A") == 5
    assert "limited by   and 4 more limits (-v shows all)" in page
    assert run_screen(run, PLAIN, show_all=True).count("limited by   guest A") == 9
    assert verify_screen(run.verify, PLAIN).count("limited by   guest A") == 4


def test_mounts_that_are_not_in_place_stand_below_the_account() -> None:
    run = made_up_run()
    assert "Not reached" not in run_screen(run, PLAIN)
    fell = MountAccess("vdb", "/mnt", "xip", "page-cache")
    guests = [replace(account, mounts=(fell,)) for account in run.measure.guests]
    shown = " ".join(run_screen(replace(run, measure=replace(run.measure, guests=tuple(guests))), PLAIN).split())
    first = "Not reached as was asked for: LINUX01 at /mnt (wanted xip, found page-cache), LINUX02"
    assert first in shown
    assert f"and {len(guests) - 3} more" in shown
