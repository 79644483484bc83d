"""`dcss compare` runs one workload by every way, and leaves nothing behind."""

import csv
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from cli_support import Dcss
from needs_support import needs

COPY = "page-cache"


def config(dcss: Dcss) -> Path:
    # Pages that are nothing alike: those of the usual tree are, and take long to search for in copies.
    random = Random(1)
    library = dcss.home / "alone/usr/lib"
    library.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        (library / f"lib{number}.so").write_bytes(random.randbytes(100_000))
    segment = "  - {name: LIB, at: 0x20000000, image: {directory: alone}}"
    run = 'run: [{map: "/usr/lib/**/*.so*"}, {read: "/usr/lib/**/*.so*"}]'
    return dcss.config(
        f"name: G, count: 2, mounts: [{{device: dcssblk0, at: /, options: [ro, xip]}}], {run}", segment=segment
    )


def test_ways_that_copy_pay_for_each_file_and_ways_in_place_do_not(dcss: Dcss) -> None:
    plot = dcss.home / "ways.svg"
    document = dcss.json("compare", config(dcss), "--rounds", "1", "--plot", plot)
    ways = {way["way"]: way for way in document["ways"]}
    assert list(ways) == ["xip", "mtd", "page-cache", "ramdisk", "ksm"]
    assert "--ksm has it run" in ways["ksm"]["reason"]
    copies = {name: sum(guest["copies_bytes"] for guest in way["guests"]) for name, way in ways.items()}
    assert copies["xip"] == copies["mtd"] == 0
    assert copies["ramdisk"] > copies[COPY] > 0
    for name in ("xip", "mtd", COPY, "ramdisk"):
        assert ways[name]["verdict"] == "verified", name
        assert len(ways[name]["guests"]) == 2
        assert ways[name]["ready_seconds"] > 0
    assert plot.read_bytes().startswith(b"<?xml")
    dcss.assert_nothing_left()


@pytest.mark.slow
def test_csv_has_a_row_for_each_guest_by_each_way(dcss: Dcss) -> None:
    table = dcss("compare", config(dcss), "--rounds", "1", "--csv", "guests").stdout
    rows = list(csv.DictReader(StringIO(table)))
    ways = ("xip", "mtd", COPY, "ramdisk")
    assert [(row["way"], row["name"]) for row in rows] == [(way, name) for way in ways for name in ("G01", "G02")]


@pytest.mark.slow
def test_a_guest_that_fails_is_named_and_the_other_ways_are_not_run_again(dcss: Dcss) -> None:
    path = dcss.config('name: G, mounts: [{device: dcssblk0, at: /, options: [ro]}], run: [{map: "/no/such"}]')
    done = dcss("compare", path, "--rounds", "2", status=3)
    assert done.stderr.count("dcss compare: xip: guest G: exit status") == 1
    assert "not by xip: 1 of 1 guests failed" in done.stdout
    dcss.assert_nothing_left()


@pytest.mark.slow
@needs("ksm")
def test_merging_is_compared_where_it_was_asked_for_and_settings_are_restored(dcss: Dcss) -> None:
    before = Path("/sys/kernel/mm/ksm/run").read_text()
    document = dcss.json("compare", config(dcss), "--rounds", "1", "--ksm", status=None)
    merged = next(way for way in document["ways"] if way["way"] == "ksm")
    if dcss.uid is None:
        assert merged["merged_bytes"] > 0
    else:
        assert merged["reason"] == "only root starts KSM"
    assert Path("/sys/kernel/mm/ksm/run").read_text() == before
