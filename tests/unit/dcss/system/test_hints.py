"""What a plan lacks for what it expects, as the first thing that a refuted verdict says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from results_support import made_up_run

from dcss.config.plan import GuestPlan, MountPlan, ProcessSettings, Step
from dcss.results import MountAccess
from dcss.system.hints import downgrades, failure_hint, fallbacks, joined_names, plan_hints, reason_hints


def plan(*names: str, where: str = "a.yaml:3", **changes: Any) -> list[GuestPlan]:
    fields: dict[str, Any] = {
        "settings": ProcessSettings(),
        "storage_bytes": 64 << 20,
        "dcssblk": ("LIB", "ONE:TWO"),
        "mounts": (MountPlan("dcssblk0", "/", ("ro", "xip")),),
        "expect": "shared",
        "run": (Step("map", "/lib/**"),),
        "where": where,
    }
    return [GuestPlan(name=name, **(fields | changes)) for name in names]


def mounted(device: str, *options: str) -> tuple[MountPlan, ...]:
    return (MountPlan("dcssblk0", "/", ("ro", "dax")), MountPlan(device, "/mnt", options))


def test_a_plan_that_lacks_nothing_has_no_hint() -> None:
    assert plan_hints([*plan("A"), *plan("B", expect="copies", mounts=(MountPlan("dcssblk0", "/", ("ro",)),))]) == ()


def test_a_mount_without_xip_is_named_once_for_an_entry_with_its_segments_and_the_option() -> None:
    (hint,) = plan_hints(plan("L1", "L2", "L3", mounts=mounted("dcssblk1", "ro")))
    assert hint.startswith(
        "a.yaml:3: guests L1, L2 and 1 more: mounts[1]: dcssblk1 (ONE, TWO) is mounted at /mnt without xip"
        " (options: [ro])"
    )
    assert "wanted options: [ro, xip]" in hint


def test_what_is_not_a_segment_needs_no_xip() -> None:
    assert plan_hints(plan("A", mounts=mounted("tmpfs", "size=1M"))) == ()


@pytest.mark.parametrize(
    ("command", "hints"),
    [
        ("mount -t ext2 -o ro /dev/dcssblk1 /mnt", 1),
        ("/bin/mount -oro /dev/dcssblk1 /mnt", 1),
        (("mount", "/dev/dcssblk1", "/mnt"), 1),
        ("mount -o ro,xip /dev/dcssblk1 /mnt", 0),
        ("mount -o remount,ro /dev/dcssblk1 /mnt", 0),
        ("mount 'unclosed", 0),
        ("mount", 0),
        ("cat /dev/dcssblk1", 0),
    ],
)
def test_mounts_that_a_step_makes_count(command: str | tuple[str, ...], hints: int) -> None:
    found = plan_hints(plan("A", run=(Step("exec", command), Step("map", "/**"))))
    assert len(found) == hints
    assert all("guest A: run[0]: /dev/dcssblk1 (ONE, TWO) is mounted at /mnt without xip" in hint for hint in found)


def test_a_baseline_mounted_in_place_and_a_guest_that_maps_nothing() -> None:
    (shared,) = plan_hints(plan("B", expect="copies"))
    assert "wanted no xip or dax, or expect: shared" in shared
    (nothing,) = plan_hints(plan("R", run=(Step("read", "/lib/**"),)))
    assert nothing.startswith("a.yaml:3: guest R: run: maps no file")
    assert plan_hints(plan("N", run=(), expect="nothing")) == ()


def test_guests_that_failed_are_counted() -> None:
    assert failure_hint([], 3) == ()
    assert failure_hint(["A", "B"], 3) == ("guests A and B: failed, 2 of 3 guests, and are not in the verdict",)
    assert joined_names(["A"]) == "guest A"


def test_guests_that_failed_for_one_reason_are_named_together() -> None:
    failures = [("a.yaml:3", "A", "run[0]: /x: no"), ("a.yaml:3", "B", ""), ("a.yaml:3", "C", "run[0]: /x: no")]
    assert reason_hints([*failures, ("a.yaml:9", "D", "run[0]: /x: no")]) == (
        "a.yaml:3: guests A and C: run[0]: /x: no",
        "a.yaml:9: guest D: run[0]: /x: no",
    )


def test_a_hint_names_a_file_and_line(tmp_path: Path) -> None:
    where = f"{tmp_path}/system.yaml:7"
    assert plan_hints(plan("A", where=where, mounts=(MountPlan("dcssblk0", "/", ()),)))[0].startswith(where)


@pytest.mark.parametrize(
    ("mode", "expect", "hints"), [("xip", "shared", 0), ("mtd", "shared", 0), ("mtd", "copies", 1)]
)
def test_a_mode_counts_as_the_options_that_it_stands_for(mode: Any, expect: str, hints: int) -> None:
    found = plan_hints(plan("A", expect=expect, mounts=(MountPlan("dcssblk0", "/", (), mode),)))
    assert len(found) == hints


def test_a_mount_that_fell_back_is_named_once_for_all_its_guests() -> None:
    account = made_up_run().measure.guests[0]
    kept, fell = MountAccess("dcssblk0", "/", "xip", "xip"), MountAccess("vdb", "/mnt", "xip", "page-cache")
    guests = [replace(account, name=name, mounts=(kept, fell)) for name in ("A", "B")]
    assert fallbacks([replace(account, mounts=(kept,))]) == ()
    assert fallbacks(guests) == (
        "guests A and B: vdb is mounted at /mnt with xip, but its files are reached by page-cache: the device cannot be"
        " addressed, or was mounted so before (wanted mode: page-cache, or a segment; mode: mtd maps a disk)",
    )


@pytest.mark.parametrize(
    ("mode", "expect", "wanted"),
    [
        ("page-cache", "shared", "by mode: page-cache, so its files are copied to the guest's page cache; wanted mode"),
        ("mtd", "copies", "by mode: mtd, so its files are mapped in place; wanted mode: page-cache or ramdisk, or"),
    ],
)
def test_a_hint_about_a_mode_names_modes(mode: Any, expect: str, wanted: str) -> None:
    (hint,) = plan_hints(plan("A", expect=expect, mounts=(MountPlan("dcssblk0", "/", ("ro",), mode),)))
    assert wanted in hint


def test_machines_without_kvm_are_named_once_for_each_reason() -> None:
    account = made_up_run().measure.guests[0]
    by_kvm = replace(account, name="K", accelerator="kvm")
    slow = [replace(account, name=name, accelerator="tcg", accelerator_reason="no luck") for name in ("A", "B")]
    assert downgrades([account, by_kvm]) == ()
    (line,) = downgrades([by_kvm, *slow])
    assert line.startswith("guests A and B: ")
    assert line.endswith(": no luck")
