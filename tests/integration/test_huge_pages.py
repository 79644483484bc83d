"""Segments in huge pages: where the machine has them, where it has none, and what is proved of them."""

import json
import re
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss
from huge_support import LARGE_BYTES, make_large_tree, mounted_with, segment, without
from needs_support import needs

from dcss.host.mapping import HUGE_PAGE_BYTES


def run(dcss: Dcss, segments: list[str], *guests: str, prefix: list[str] | None = None, status: int = 0) -> Any:
    config = dcss.config(*guests, segment="\n".join(segments))
    done = dcss("run", config, "--json", prefix=prefix or [], status=status)
    return json.loads(done.stdout) if status == 0 else done.stderr


def huge_bytes(ran: Any) -> dict[str, int]:
    return {each["name"]: each["huge_bytes"] for each in ran["measure"]["segments"]}


def whole_huge_pages(ran: Any, name: str) -> int:
    (size_bytes,) = [each["bytes"] for each in ran["measure"]["segments"] if each["name"] == name]
    assert isinstance(size_bytes, int)
    return size_bytes - size_bytes % HUGE_PAGE_BYTES


@pytest.mark.slow
@needs("huge_pages", "frames")
def test_claims_and_accounts_of_huge_and_small_pages(dcss: Dcss) -> None:
    make_large_tree(dcss)
    ran = run(
        dcss,
        [segment("HUGE", "0x20000000"), segment("SMALL", "0x30000000", "never")],
        f"name: H, count: 2, dcssblk: [HUGE], {GUEST}, {MAP}",
        f"name: S, count: 2, dcssblk: [SMALL], {GUEST}, {MAP}",
        f"name: B, dcssblk: [HUGE], expect: copies, {GUEST.replace(', xip', '')}, {MAP}",
    )
    assert ran["verify"]["verdict"] == "verified"
    assert {claim["claim"]: claim["holds"] for claim in ran["verify"]["claims"]} == dict.fromkeys(
        ["one-frame-per-page", "no-hidden-copies", "books-close", "protection-holds", "baselines-copy"], True
    )
    assert huge_bytes(ran) == {"HUGE": whole_huge_pages(ran, "HUGE"), "SMALL": 0}
    by_name = {guest["name"]: guest for guest in ran["measure"]["guests"]}
    # Of each 2 MiB, a page table with 512 entries in place of one entry.
    saved_bytes = by_name["S01"]["host"]["page_table_bytes"] - by_name["H01"]["host"]["page_table_bytes"]
    assert saved_bytes >= (LARGE_BYTES // HUGE_PAGE_BYTES - 1) * 4096
    assert by_name["S01"]["guest"]["xip_bytes"] == by_name["H01"]["guest"]["xip_bytes"] > LARGE_BYTES


@needs("mounts", "frames", "huge_pages")
@pytest.mark.parametrize("dcss", ["self"], indirect=True)  # only root may mount
@pytest.mark.parametrize("option", ["always", "within_size", "advise", "never"])
def test_whatever_the_mount_option_is(dcss: Dcss, option: str) -> None:
    make_large_tree(dcss)
    ran = run(
        dcss,
        [segment("HUGE", "0x20000000", "require"), segment("SMALL", "0x30000000", "never")],
        f"name: G, count: 2, storage: 32M, dcssblk: [HUGE, SMALL], {GUEST}, {MAP}",
        prefix=mounted_with(f"huge={option}"),
    )
    assert ran["verify"]["verdict"] == "verified"
    assert huge_bytes(ran) == {"HUGE": whole_huge_pages(ran, "HUGE"), "SMALL": 0}


@needs("huge_pages", "frames")
@pytest.mark.parametrize("kind", ["SW", "EW"])
def test_segments_that_guests_write(dcss: Dcss, kind: str) -> None:
    make_large_tree(dcss)
    write = "run: [{exec: 'echo new > /usr/lib/lib00.so'}, {map: /usr/lib/*.so}]"
    ran = run(
        dcss,
        [segment("DATA", "0x20000000", "require", type=kind)],
        f"name: G, expect: nothing, {GUEST.replace('ro, ', '')}, {write}",
    )
    assert huge_bytes(ran)["DATA"] == whole_huge_pages(ran, "DATA")
    (books,) = [claim for claim in ran["verify"]["claims"] if claim["claim"] == "books-close"]
    assert books["holds"] is True
    (guest,) = ran["measure"]["guests"]
    if kind == "EW":  # some small pages of its own, no huge ones
        assert 0 < guest["written_segment_bytes"] < 1 << 20
    else:
        assert guest["written_segment_bytes"] == 0


@needs("huge_pages")
def test_a_saved_segment(dcss: Dcss) -> None:
    make_large_tree(dcss)
    first = run(dcss, [segment("LIB", "0x20000000", "never", save="true")], f"name: G, {GUEST}, {MAP}")
    assert huge_bytes(first) == {"LIB": 0}
    again = run(dcss, ["  - {name: LIB, huge_pages: require}"], f"name: G, {GUEST}, {MAP}")
    assert huge_bytes(again) == {"LIB": whole_huge_pages(again, "LIB")}


def test_a_machine_without(dcss: Dcss) -> None:
    make_large_tree(dcss)
    guests = f"name: G, count: 2, {GUEST}, {MAP}"
    ran = run(dcss, [segment("LIB", "0x20000000", "auto")], guests, prefix=without(dcss))
    assert (huge_bytes(ran), ran["warnings"]) == ({"LIB": 0}, [])
    told = run(dcss, [segment("LIB", "0x20000000", "require")], guests, prefix=without(dcss), status=2)
    (line,) = [line for line in told.splitlines() if "huge_pages" in line]
    place, _, text = line.partition(": ")
    assert place.endswith("system.yaml:3")
    assert text.startswith("segments[0].huge_pages: segment LIB: found 0 bytes of /dcss.")
    assert f" in huge pages, wanted {LARGE_BYTES + HUGE_PAGE_BYTES}; dcss doctor says" in text
    dcss.assert_nothing_left()


@pytest.mark.parametrize("start", ["0x20001000", "0x20100000"])
def test_a_place_off_a_boundary_cannot_require_them(dcss: Dcss, start: str) -> None:
    make_large_tree(dcss)
    told = run(dcss, [segment("LIB", start, "require")], f"name: G, {GUEST}, {MAP}", status=2)
    assert f"segments[0].huge_pages: segment LIB: found a start at {start}, wanted a multiple of 0x200000" in told
    assert "publish" not in told


def test_less_than_one_huge_page_cannot_require_them(dcss: Dcss) -> None:
    told = run(dcss, [segment("LIB", "0x20000000", "require")], f"name: G, {GUEST}, {MAP}", status=2)
    assert re.search(
        r"huge_pages: segment LIB: found a segment of 1\d{6} bytes, wanted at least 2097152 \(2 MiB\)", told
    )


def test_other_words_are_refused(dcss: Dcss) -> None:
    told = run(dcss, [segment("LIB", "0x20000000", "sometimes")], f"name: G, {GUEST}, {MAP}", status=2)
    assert "segments[0].huge_pages: found 'sometimes', wanted " in told
    assert all(word in told for word in ("auto", "never", "require"))
