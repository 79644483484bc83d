"""`mode:` of a mount: one workload by each way to file bytes, judged by the proof and seen in the account."""

import os
from pathlib import Path
from typing import Any

import pytest
from cli_support import Dcss
from system_support import RunningSystem, guest, system_plan

from dcss.config.plan import DiskPlan, MountPlan
from dcss.results import MountAccess

MAP = "run: [{map: '/**/*.so*'}]"


def mounted(mode: str, expect: str) -> str:
    return f"mounts: [{{device: dcssblk0, at: /, options: [ro], mode: {mode}}}], {MAP}, expect: {expect}"


def by_name(entries: list[dict[str, Any]], key: str = "name") -> dict[str, dict[str, Any]]:
    return {entry[key]: entry for entry in entries}


@pytest.mark.slow
def test_each_mode_costs_what_it_is_for_and_the_claims_hold(dcss: Dcss) -> None:
    dcss.config(
        f"name: XIP, count: 2, {mounted('xip', 'shared')}",
        f"name: MTD, count: 2, {mounted('mtd', 'shared')}",
        f"name: PAGE, {mounted('page-cache', 'copies')}",
        f"name: RAM, {mounted('ramdisk', 'copies')}",
    )
    result = dcss.json("run", "system.yaml")
    assert result["verify"]["verdict"] == "verified"
    guests = by_name(result["measure"]["guests"])
    shared = guests["XIP01"]["guest"]["xip_bytes"]
    assert shared > 0
    assert guests["MTD02"]["guest"]["xip_bytes"] == shared
    for name in ("XIP01", "MTD01"):
        assert guests[name]["guest"]["page_cache_bytes"] == guests[name]["guest"]["buffer_bytes"] == 0
    copied = guests["PAGE"]["guest"]["page_cache_bytes"]
    assert copied == shared
    assert guests["RAM"]["guest"]["page_cache_bytes"] == copied
    image_bytes = result["measure"]["segments"][0]["bytes"]
    assert guests["RAM"]["guest"]["buffer_bytes"] >= image_bytes
    assert {name: account["mounts"][0]["mode"] for name, account in guests.items()} == {
        "XIP01": "xip",
        "XIP02": "xip",
        "MTD01": "mtd",
        "MTD02": "mtd",
        "PAGE": "page-cache",
        "RAM": "ramdisk",
    }
    # The ramdisk's guest has unloaded the segment: the original is not needed any more.
    assert result["measure"]["segments"][0]["guests"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["page-cache", "ramdisk"])
def test_copies_where_sharing_is_expected_refute(dcss: Dcss, mode: str) -> None:
    dcss.config(f"name: A, count: 2, {mounted(mode, 'shared')}")
    result = dcss.json("run", "system.yaml", status=1)
    claims = by_name(result["verify"]["claims"], "claim")
    assert claims["no-hidden-copies"]["holds"] is False


def test_mapping_in_place_where_copies_are_expected_refutes(dcss: Dcss) -> None:
    dcss.config(f"name: A, {mounted('mtd', 'copies')}")
    claims = by_name(dcss.json("run", "system.yaml", status=1)["verify"]["claims"], "claim")
    assert claims["baselines-copy"]["holds"] is False


def test_a_mode_and_options_that_contradict_each_other_are_refused(dcss: Dcss) -> None:
    for mode, option in (("page-cache", "xip"), ("ramdisk", "dax"), ("mtd", "rw"), ("xip", "dax")):
        dcss.config(f"name: A, {MAP}, mounts: [{{device: dcssblk0, at: /, options: [{option}], mode: {mode}}}]")
        found = dcss("run", "system.yaml", status=2).stderr
        assert f"5: guests[0].mounts[0].options[0]: found {option} beside mode: {mode}, wanted options that" in found
    dcss.config(f"name: A, {MAP}, mounts: [{{device: dcssblk0, at: /, mode: pagecache}}]")
    wanted = "found 'pagecache', wanted one of xip, page-cache, ramdisk, mtd (did you mean page-cache?)"
    assert f"5: guests[0].mounts[0].mode: {wanted}" in dcss("run", "system.yaml", status=2).stderr


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    system_plan(tmp_path)  # makes the image
    return tmp_path / "image"


def test_xip_on_a_disk_is_copied_and_the_result_says_so(dcss: Dcss, image: Path) -> None:
    (dcss.home / "disk.img").write_bytes(image.read_bytes())
    (dcss.home / "disk.img").chmod(0o644)
    disk = "disks: [{name: vdb, file: disk.img}], mounts: [{device: vdb, at: /, options: [ro], mode: xip}]"
    dcss.config(f"name: A, count: 2, {disk}, {MAP}, expect: nothing")
    result = dcss.json("run", "system.yaml")
    assert result["measure"]["guests"][0]["mounts"] == [
        {"device": "vdb", "at": "/", "wanted": "xip", "mode": "page-cache"}
    ]
    (warning,) = [line for line in result["warnings"] if "vdb" in line]
    assert warning.startswith(
        "guests A01 and A02: vdb is mounted at / with xip, but its files are reached by page-cache"
    )


def test_an_mtd_over_a_disk_is_mapped_and_is_no_copy_of_a_segment(tmp_path: Path, image: Path) -> None:
    mounts = (MountPlan("dcssblk0", "/segment", ("ro", "xip")), MountPlan("vdb", "/disk", (), "mtd"))
    other = tmp_path / "other.img"
    other.write_bytes(image.read_bytes())
    steps = (("map", "/segment/usr/lib/*.so*"), ("map", "/disk/usr/lib/*.so*"))
    with RunningSystem(
        system_plan(tmp_path, guest("A", *steps, mounts=mounts, disks=(DiskPlan("vdb", other),)))
    ) as system:
        system.bring_up()
        assert system.guests["A"].ready, system.guests["A"].outcome()
        assert system.guests["A"].mounts == (
            MountAccess("dcssblk0", "/segment", "xip", "xip"),
            MountAccess("vdb", "/disk", "mtd", "mtd"),
        )
        # Frames of the file are its own, and those of the segment are the segment's: all is where it should be.
        assert system.run(system.system.prover.verify()).verdict == "verified"


def test_a_kernel_and_modules_are_copied_in_place_or_not_and_are_no_hidden_copies(dcss: Dcss) -> None:
    modules = "load: '/usr/lib/*.so'"
    in_place = "mounts: [{device: dcssblk0, at: /, options: [ro], mode: xip}]"
    dcss.config(f"name: A, count: 2, {in_place}, run: [{{map: '/**/*.so*'}}, {{{modules}}}]")
    result = dcss.json("run", "system.yaml")
    assert result["verify"]["verdict"] == "verified"
    for account in result["measure"]["guests"]:
        assert account["guest"]["module_bytes"] > 0
        assert account["guest"]["page_cache_bytes"] == 0
        assert account["host"]["uss_bytes"] > account["guest"]["module_bytes"]
    detail = by_name(result["verify"]["claims"], "claim")["no-hidden-copies"]["detail"]
    assert "the kernel and its modules, which are always copied: guest A01 (modules): " in detail


def test_a_mapped_file_that_cp_did_not_give_as_a_disk_is_out_of_place(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(image.read_bytes())
    mounts = (MountPlan("dcssblk0", "/segment", ("ro", "xip")), MountPlan("vdb", "/disk", (), "mtd"))
    steps = (("map", "/segment/usr/lib/*.so*"), ("map", "/disk/usr/lib/*.so*"))
    plan = guest("A", *steps, mounts=mounts, disks=(DiskPlan("vdb", disk),))
    with RunningSystem(system_plan(tmp_path, plan)) as system:
        system.bring_up()
        running = system.guests["A"].running
        assert running is not None
        layout = running.memory()
        assert len(layout.disks) == 1
        monkeypatch.setattr(running, "memory", lambda: layout._replace(disks=frozenset()))
        verdict = system.run(system.system.prover.verify())
        (claim,) = [claim for claim in verdict.claims if claim.claim == "one-frame-per-page"]
        assert claim.holds is False
        assert os.fsdecode(disk) in claim.detail
