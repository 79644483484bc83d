"""Accounts of live guests whose memory is known to the page."""

import os
import signal

import pytest
from needs_support import needs
from segment_support import ADDRESS, FILES, PAGES, Stage, map_all, map_file, order, random_content, without_privilege

from dcss.abi.page import PAGE_SIZE
from dcss.account.accounts import Accounts, measure
from dcss.account.proc import ProcessGoneError
from dcss.account.scan import GuestReading
from dcss.account.space import ProcessPages
from dcss.account.targets import AddressRange, GuestTarget, SystemTarget
from dcss.documents import to_document
from dcss.errors import LaunchError
from dcss.report.layout import render_page
from dcss.report.measure_view import share_of
from dcss.report.pages import measure_page
from dcss.report.style import Style
from dcss.results import GuestAccount, GuestCounters, MeasureResult, Totals

COUNTERS = (0, 0, 0, 0, 0, 0)


def measured(stage: Stage) -> MeasureResult:
    return measure(
        stage.system, {guest.name: (1, 2, 3, 4, 0, 0) for guest in stage.guests}, {"LIB": 2}, free_before_bytes=1 << 40
    )


def uss_pages(account: GuestAccount) -> int:
    assert account.host.uss_bytes is not None
    return account.host.uss_bytes // PAGE_SIZE


def test_accounts_of_sharing_guests() -> None:
    with Stage() as stage:
        stage.publish()
        first = stage.guest(map_all())
        stage.guest([order("device", address=ADDRESS, pages=PAGES, populate=True), *map_file(FILES[0], 0)])
        result = measured(stage)
    one, two = result.guests
    assert (one.name, one.engine, one.pids, one.storage_bytes) == ("LINUX01", "process", first.pids, 64 << 20)
    # Device mappings are not user mappings.
    assert one.guest.xip_bytes == 73 * PAGE_SIZE
    assert two.guest.xip_bytes == 40 * PAGE_SIZE
    assert (one.guest.page_cache_bytes, one.guest.buffer_bytes, one.guest.anonymous_bytes) == (1, 2, 3)
    for account in (one, two):
        host = account.host
        assert host.rss_bytes is not None
        assert host.pss_bytes is not None
        assert host.uss_bytes is not None
        assert 0 < host.uss_bytes < host.pss_bytes < host.rss_bytes
        assert host.page_table_bytes is not None
        assert host.page_table_bytes > 0
    assert result.totals == Totals(PAGES * PAGE_SIZE, 113 * PAGE_SIZE, (113 - PAGES) * PAGE_SIZE)
    (segment,) = result.segments
    assert segment.unused_bytes == (PAGES - 73) * PAGE_SIZE
    assert (segment.name, segment.shm, segment.guests) == ("LIB", stage.segments[0].shm_name, 2)
    assert segment.bytes == segment.resident_bytes == PAGES * PAGE_SIZE
    assert result.machine is not None
    assert result.machine.free_before_bytes == 1 << 40
    assert 0 < result.machine.free_after_bytes < 1 << 40


def test_a_guest_whose_kernel_has_failed_is_told() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        result = measure(stage.system, {"LINUX01": (1, 2, 3, 4, 0, 2)}, {"LIB": 2})
    (told,) = [limit for limit in result.limits if "failed" in limit]
    assert told.endswith("the guest's kernel has failed 2 times, so that its own count may be wrong: see its log")


def test_what_a_guest_cannot_see_of_its_programs_is_unknown_and_not_zero() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.guest(map_all())
        result = measure(stage.system, {"LINUX01": (1, 2, 3, 4, None, 0), "LINUX02": (1, 2, 3, 4, 8192, 0)}, {"LIB": 2})
    assert [account.guest.xip_bytes for account in result.guests] == [None, 75 * PAGE_SIZE]
    assert [limit for limit in result.limits if "guest LINUX01" in limit and "xip_bytes are unknown" in limit]


def test_an_engine_without_counters_is_unknown_everywhere_and_says_why() -> None:
    reason = "engine other does not count its guests' pages"
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.guest(map_all())
        result = measure(stage.system, {"LINUX01": (1, 2, 3, 4, 0, 0), "LINUX02": reason}, {"LIB": 2})
    limit = f"guest LINUX02: {reason}"
    assert result.limits.count(limit) == 1
    known, unknown = (account.guest for account in result.guests)
    assert (known.page_cache_bytes, known.buffer_bytes, known.anonymous_bytes) == (1, 2, 3)
    assert unknown == GuestCounters(73 * PAGE_SIZE, None, None, None)  # mappings are read from the host's books
    assert result.totals == Totals(PAGES * PAGE_SIZE, 146 * PAGE_SIZE, (146 - PAGES) * PAGE_SIZE)
    document = to_document(result)
    assert document["guests"][1]["guest"] == {
        "xip_bytes": 73 * PAGE_SIZE,
        "page_cache_bytes": None,
        "buffer_bytes": None,
        "anonymous_bytes": None,
        "module_bytes": None,
    }
    assert limit in document["limits"]
    shares = [share_of(account) for account in result.guests]
    assert [share.copies_bytes for share in shares] == [1 + 2 + 4, None]
    assert shares[0].plus(shares[1]).copies_bytes is None
    lines = render_page(measure_page(result, show_all=True), Style()).splitlines()
    rows = {line.split()[0]: line.split()[-1] for line in lines if line.startswith("LINUX")}
    assert rows == {"LINUX01": "0.00", "LINUX02": "n/a"}
    assert limit in " ".join(" ".join(lines).split())


def test_baselines_are_in_the_accounts_and_not_in_the_totals() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        # Many more pages than those by which two forks of one process differ.
        reads = [order("read_into", address=copy * 40 * PAGE_SIZE, page=8, pages=40) for copy in range(30)]
        stage.guest([order("storage", pages=1200), *reads], expect="copies")
        stage.guest([order("storage", pages=1200)], expect="copies")
        result = measured(stage)
    assert result.totals == Totals(PAGES * PAGE_SIZE, 73 * PAGE_SIZE, (73 - PAGES) * PAGE_SIZE)
    shared, copies, idle = result.guests
    assert shared.guest.xip_bytes == 73 * PAGE_SIZE
    assert copies.guest.xip_bytes == 0
    assert uss_pages(copies) - uss_pages(idle) in range(1100, 1300)


@needs("frames")
def test_uss_counts_a_frame_that_one_guest_maps_twice_once() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([order("storage", pages=1)])
        stage.guest([order("storage", pages=1), order("map_own_twice", pages=2000)])
        idle, twice = measured(stage).guests
    assert uss_pages(twice) - uss_pages(idle) in range(1900, 2100)


@needs("frames")
def test_uss_of_a_guest_that_forks_counts_what_both_map() -> None:
    with Stage() as stage:
        stage.publish()
        lone = stage.guest([order("hide", how="private", page=0, pages=90)])
        stage.guest([order("hide", how="private", page=0, pages=90), order("hide", how="child", page=0, pages=1)])
        alone, forked = measured(stage).guests
    assert alone.pids == lone.pids
    assert len(forked.pids) == 2
    # The parent's 90 pages are mapped by its child as well, and are the guest's alone all the same.
    assert uss_pages(forked) >= 90


def test_two_segments_count_apart() -> None:
    with Stage() as stage:
        stage.publish()
        stage.publish(random_content(8, seed=4), (), name="OTHER")
        stage.guest([order("map", at=0, page=0, pages=4), order("map", at=100, page=0, pages=8, segment=1)])
        stage.guest([order("map", at=0, page=2, pages=4)])
        result = measured(stage)
    assert [account.guest.xip_bytes for account in result.guests] == [12 * PAGE_SIZE, 4 * PAGE_SIZE]
    assert result.totals == Totals((PAGES + 8) * PAGE_SIZE, 16 * PAGE_SIZE, (16 - PAGES - 8) * PAGE_SIZE)
    assert [segment.unused_bytes for segment in result.segments] == [(PAGES - 6) * PAGE_SIZE, 0]


def test_absent_pages_are_not_instantiated() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([order("map", at=0, page=0, pages=64, touched=10)])
        (account,) = measured(stage).guests
    assert account.guest.xip_bytes == 10 * PAGE_SIZE


def test_written_private_copies_are_not_the_segments_pages() -> None:
    with Stage() as stage:
        stage.publish()
        rewrite = order("rewrite", address=0, pages=5, area="user_area")
        stage.guest([order("map", at=0, page=8, pages=40, private=True), rewrite])
        result = measured(stage)
    assert result.guests[0].guest.xip_bytes == 35 * PAGE_SIZE
    assert result.totals.without_sharing_bytes == 35 * PAGE_SIZE


def test_without_privilege_what_can_be_seen_is_the_same() -> None:
    def run() -> tuple[MeasureResult, MeasureResult]:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            plain = measured(stage)
            stage.guest([*map_all(), order("undumpable")])
            return plain, measured(stage)

    plain, closed = without_privilege(run)
    (account,) = plain.guests
    assert account.guest.xip_bytes == 73 * PAGE_SIZE
    assert None not in (account.host.rss_bytes, account.host.pss_bytes, account.host.uss_bytes)
    assert any("CAP_SYS_ADMIN" in limit for limit in plain.limits)
    # A guest that closes its books: None and the reason, never 0.
    hidden = closed.guests[1]
    assert (hidden.host.rss_bytes, hidden.host.pss_bytes, hidden.host.uss_bytes) == (None, None, None)
    assert hidden.guest.xip_bytes is None
    assert closed.totals == Totals(None, None, None)
    assert any("guest LINUX02: /proc/" in limit and "Permission denied" in limit for limit in closed.limits)


def test_uss_without_privilege_is_close_to_roots() -> None:
    def run() -> list[int]:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            return [uss_pages(account) for account in measured(stage).guests]

    (as_user,) = without_privilege(run)
    (as_root,) = run()
    assert abs(as_user - as_root) < 50


def test_guest_that_ended() -> None:
    with Stage() as stage:
        stage.publish()
        guest = stage.guest(map_all())
        os.kill(guest.pids[0], signal.SIGKILL)
        # It is read while it goes, at whatever point it happens to be.
        with pytest.raises(LaunchError, match=rf"guest LINUX01: process {guest.pids[0]} ended"):
            for _ in range(1000):
                measured(stage)


def test_guest_without_an_account_of_its_own() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        with pytest.raises(LaunchError, match="guest LINUX01: wanted the account of its own kernel"):
            measure(stage.system, {}, {})


@pytest.fixture
def gone_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def account_of(*pids: int, own: tuple[int, ...]) -> GuestAccount:
    """Account for a guest of processes `own` and what these forked."""
    guest = GuestTarget("LINUX01", "process", own, "shared", 0, AddressRange(0, 1), AddressRange(1, 2))
    accounts = Accounts(SystemTarget("s", 0, (), (guest,), ()), {"LINUX01": (1, 2, 3, 4, 0, 0)}, {}, hidden=None)
    spaces = tuple(ProcessPages.read(pid) for pid in own)
    accounts.add_guest(GuestReading(guest, pids, spaces, None))
    return accounts.result([], None).guests[0]


def test_what_a_guest_forked_may_end_while_it_is_accounted_for(gone_pid: int) -> None:
    alone = account_of(os.getpid(), own=(os.getpid(),))
    beside = account_of(os.getpid(), gone_pid, own=(os.getpid(),))
    assert alone.host.rss_bytes is not None
    assert beside.host.rss_bytes is not None
    assert beside.host.rss_bytes > alone.host.rss_bytes // 2
    assert beside.host.page_table_bytes
    with pytest.raises(ProcessGoneError, match=f"process {gone_pid} ended"):
        Accounts(SystemTarget("s", 0, (), (), ()), {"LINUX01": (1, 2, 3, 4, 0, 0)}, {}, hidden=None).add_guest(
            GuestReading(
                GuestTarget("LINUX01", "process", (gone_pid,), "shared", 0, AddressRange(0, 1), AddressRange(1, 2)),
                (gone_pid,),
                (),
                None,
            )
        )


def test_a_segment_that_nobody_loads_has_no_guests() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([])
        result = measure(stage.system, {"LINUX01": COUNTERS}, {})
    assert [segment.guests for segment in result.segments] == [0]
    assert result.segments[0].unused_bytes == result.segments[0].resident_bytes
