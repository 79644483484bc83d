"""Guests that are cloned from the first one of their entry: nobody can tell them from guests that booted in full."""

import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss
from needs_support import needs
from system_support import RunningSystem, guest, system_plan, wait_gone

from dcss.abi.hypercall import Reply, Request
from dcss.abi.page import PAGE_SIZE
from dcss.config.plan import ProcessSettings

CLONE, FULL = ProcessSettings("clone"), ProcessSettings("full")
FIRST = "the first of its entry, from which the others are cloned"
LIBRARIES = ("map", "/usr/lib/**/*.so*")


def boots(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how each guest of `dcss run` was started, and why."""
    return [(outcome["boot"], outcome["boot_reason"]) for outcome in document["guests"]]


def templates(dcss: Dcss) -> list[int]:
    return [pid for pid, name in dcss.processes().items() if name == "dcss:template"]


def messages(log: str) -> list[str]:
    return [re.sub(r"^\[ *\d+\.\d+\]", "", line) for line in log.splitlines()]


def times(log: str) -> list[float]:
    return [float(stamp) for stamp in re.findall(r"^\[ *(\d+\.\d+)\]", log, re.MULTILINE)]


@contextmanager
def up(dcss: Dcss, config: Path) -> Iterator[None]:
    dcss("up", config, "-d")
    try:
        yield
    finally:
        dcss("down")


def test_the_first_guest_boots_and_the_others_are_cloned_unless_the_file_says_full(dcss: Dcss) -> None:
    ran = dcss.json("run", dcss.guests(4))
    assert boots(ran) == [("full", FIRST)] + [("clone", "")] * 3
    assert ran["verify"]["verdict"] in {"verified", "unproved"}
    shown = dcss("run", dcss.guests(4)).stdout
    assert "4 guests ready" in shown
    assert "; 3 guests cloned" in shown
    assert boots(dcss.json("run", dcss.guests(4, ", boot: full"))) == [("full", "")] * 4
    assert boots(dcss.json("run", dcss.config(f"name: G, {GUEST}, {MAP}"))) == [("full", "")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        ("options: [ro]", "the mount of dcssblk0 at / copies files"),
        ("options: [ro, dax]", "its boot made"),  # a segment of no whole 2 MiB cannot be DAX: the files are copied
    ],
)
def test_guests_that_would_share_copies_boot_in_full(dcss: Dcss, mount: str, reason: str) -> None:
    config = dcss.config(f"name: G, count: 3, mounts: [{{device: dcssblk0, at: /, {mount}}}], {MAP}, expect: copies")
    started = boots(dcss.json("run", config))
    assert [how for how, _ in started] == ["full"] * 3
    assert all(why.startswith(reason) for _, why in started[1:]), started


@needs("frames")
def test_every_claim_holds_and_the_template_maps_nothing(dcss: Dcss) -> None:
    with up(dcss, dcss.guests(5)):
        assert dcss.json("verify")["verdict"] == "verified"
        (template,) = templates(dcss)
        assert "/dev/shm" not in Path(f"/proc/{template}/maps").read_text()
        assert not [link for link in Path(f"/proc/{template}/fd").iterdir() if "/dev/shm" in str(link.readlink())]
        private = [each["host"]["uss_bytes"] for each in dcss.json("measure")["guests"]]
    with up(dcss, dcss.guests(5, ", boot: full")):
        in_full = [each["host"]["uss_bytes"] for each in dcss.json("measure")["guests"]]
    assert max(private[1:]) < min(in_full) / 2


@needs("frames")
def test_an_idle_clone_that_is_measured_stays_as_it_is_until_it_runs_something(dcss: Dcss) -> None:
    with up(dcss, dcss.guests(3)):
        first, second = (measured(dcss, "G03") for _ in range(2))
        assert first["guest"]["anonymous_bytes"] == second["guest"]["anonymous_bytes"] == 0
        assert second["host"]["uss_bytes"] <= first["host"]["uss_bytes"] + 4 * PAGE_SIZE
        dcss("exec", "G03", "--", "sh", "-c", "echo something > /tmp/file")
        assert measured(dcss, "G03")["guest"]["page_cache_bytes"] == PAGE_SIZE


def measured(dcss: Dcss, name: str) -> Any:
    """Return a guest's account."""
    (account,) = [each for each in dcss.json("measure")["guests"] if each["name"] == name]
    return account


@pytest.mark.slow
def test_logs_and_dmesg_are_those_of_a_full_boot_at_times_of_their_own(dcss: Dcss) -> None:
    texts = {}
    for how in ("clone", "full"):
        with up(dcss, dcss.guests(3, f", boot: {how}")):
            texts[how] = [
                (dcss("logs", name).stdout, dcss("exec", name, "--", "dmesg").stdout) for name in ("G01", "G02", "G03")
            ]
    for logged, ring in texts["clone"]:
        assert messages(logged) == messages(texts["full"][0][0])
        assert messages(ring) == messages(texts["full"][0][1])
        assert times(logged) == times(ring)
    assert len({tuple(times(logged)) for logged, _ in texts["clone"]}) == 3


def calls_of(tmp_path: Path, settings: ProcessSettings) -> dict[str, list[tuple[Request, Reply]]]:
    """Return the hypercalls that each of three guests makes, and CP's answers."""
    plans = [guest(name, LIBRARIES, settings=settings) for name in ("A", "B", "C")]
    made = defaultdict(list)
    with RunningSystem(system_plan(tmp_path, *plans)) as running:
        cp = running.system.cp
        handle = cp.handle

        async def traced(name: str, request: Request) -> Reply:
            reply = await handle(name, request)
            made[name].append((request, reply._replace(descriptor=None)))
            return reply

        cp.handle = traced  # type: ignore[method-assign]
        running.bring_up()
    return made


def test_cp_hears_of_each_clone_what_it_hears_of_a_full_boot(tmp_path: Path) -> None:
    cloned, in_full = calls_of(tmp_path, CLONE), calls_of(tmp_path, FULL)
    assert cloned == in_full
    assert len(cloned["B"]) >= 3


def test_what_each_guest_must_do_itself_runs_in_each(dcss: Dcss) -> None:
    steps = 'run: [{map: "/usr/lib/lib0*"}, {exec: "hostname > /tmp/name; uname -n"}, {map: "/usr/lib/lib1*"}]'
    with up(dcss, dcss.config(f"name: G, count: 3, {GUEST}, {steps}")):
        for name in ("G01", "G02", "G03"):
            assert dcss("exec", name, "--", "cat", "/tmp/name").stdout == f"{name}\n"
            assert dcss("logs", name).stdout.splitlines()[-1] == name
        dcss("exec", "G02", "--", "sh", "-c", "echo mine > /tmp/name")
        assert dcss("exec", "G03", "--", "cat", "/tmp/name").stdout == "G03\n"


def test_a_new_version_is_booted_in_full_and_leaves_a_template_for_the_next(dcss: Dcss) -> None:
    with up(dcss, dcss.guests(4)):
        (old,) = templates(dcss)
        (name,) = dcss.segment_objects()
        pages = (Path("/dev/shm") / name).stat().st_size // PAGE_SIZE
        dcss("segment", "define", "LIB", f"20000-{0x20000 + pages - 1:X} SR", "--system", dcss.system)
        dcss("segment", "save", "LIB", "--image", dcss.home / "tree", "--system", dcss.system)
        dcss("guest", "restart", "G02")
        wait_gone(old)
        assert not templates(dcss)
        dcss("guest", "restart", "G03")
        (new,) = templates(dcss)
        dcss("guest", "restart", "G04")
        assert templates(dcss) == [new]
        loaded = {each["name"]: each["segments"] for each in dcss.ps()["guests"]}
        assert loaded["G01"] == ["LIB.0001"]
        assert loaded["G02"] == loaded["G03"] == loaded["G04"] != loaded["G01"]
        assert set(dcss.states().values()) == {"ready"}


def test_guests_outlive_their_template_and_the_next_start_makes_another(dcss: Dcss) -> None:
    with up(dcss, dcss.guests(3)):
        before = {name: dcss.pid_of(name) for name in ("G01", "G02", "G03")}
        (template,) = templates(dcss)
        os.kill(template, signal.SIGKILL)
        wait_gone(template)
        assert set(dcss.states().values()) == {"ready"}
        assert {name: dcss.pid_of(name) for name in before} == before
        dcss("guest", "restart", "G03")
        assert dcss("exec", "G03", "--", "hostname").stdout == "G03\n"
        assert len(templates(dcss)) == 1
    dcss.assert_nothing_left()


def test_a_template_that_was_stopped_keeps_nobody_from_starting(dcss: Dcss) -> None:
    with up(dcss, dcss.guests(2)):
        (template,) = templates(dcss)
        os.kill(template, signal.SIGSTOP)
        dcss("guest", "restart", "G02")
        assert set(dcss.states().values()) == {"ready"}
        wait_gone(template)


@pytest.mark.slow
def test_guests_start_whose_first_one_is_killed_before_it_has_booted(dcss: Dcss) -> None:
    steps = ", ".join(['{read: "/usr/lib/**"}'] * 4000)
    config = dcss.config(f"name: G, count: 3, {GUEST}, run: [{steps}]")
    with dcss.start("up", config, "-d") as starting:
        while "dcss:G01" not in dcss.processes().values():
            assert starting.poll() is None
        (first,) = [pid for pid, name in dcss.processes().items() if name == "dcss:G01"]
        os.kill(first, signal.SIGKILL)
        starting.wait(300)
    try:
        assert dcss.states() == {"G01": "killed", "G02": "ready", "G03": "ready"}
    finally:
        dcss("down")


def test_clones_of_several_segments_and_of_private_ones(dcss: Dcss) -> None:
    segments = "\n".join(
        f"  - {{name: {name}, at: {at:#x}, type: {kind}, size: 4M, image: {{directory: tree}}}}"
        for name, at, kind in (("A", 0x20000000, "SR"), ("B", 0x30000000, "EW"), ("C", 0x40000000, "SW"))
    )
    mounts = ", ".join(
        f"{{device: dcssblk{number}, at: {at}, options: [{options}]}}"
        for number, (at, options) in enumerate((("/a", "ro, xip"), ("/b", "ro, xip"), ("/c", "rw, xip")))
    )
    config = dcss.config(
        f'name: G, count: 3, dcssblk: ["A(local)", B, C], mounts: [{mounts}], expect: nothing,'
        ' run: [{map: "/b/usr/lib/*"}, {exec: "hostname >> /c/names"}]',
        segment=segments,
    )
    with up(dcss, config):
        assert dcss("exec", "G01", "--", "mount").stdout == dcss("exec", "G03", "--", "mount").stdout
        for name in ("G02", "G03"):
            digest = dcss("exec", name, "--", "sha256sum", "/b/usr/lib/lib07.so").stdout.split()[0]
            assert digest == dcss("exec", "G01", "--", "sha256sum", "/b/usr/lib/lib07.so").stdout.split()[0]
        assert set(dcss.states().values()) == {"ready"}


@pytest.mark.parametrize(
    "mounts",
    [
        # The second is made in each guest, since it can be written: commands must not have been run before.
        "{device: dcssblk0, at: /, options: [ro, xip]}, {device: dcssblk1, at: /usr/lib, options: [rw, xip]}",
        # A segment of no whole 2 MiB cannot be DAX: what a command reads stays in the page cache.
        "{device: dcssblk0, at: /, options: [ro, dax]}",
    ],
)
def test_no_guest_can_tell_that_commands_were_rehearsed(dcss: Dcss, mounts: str) -> None:
    segments = "\n".join(
        f"  - {{name: {name}, at: {at:#x}, type: {kind}, image: {{directory: tree}}}}"
        for name, at, kind in (("A", 0x20000000, "SR"), ("B", 0x30000000, "EW"))
    )
    seen = {}
    for how in ("clone", "full"):
        guests = f"name: G, count: 2, boot: {how}, dcssblk: [A, B], mounts: [{mounts}], expect: nothing, {MAP}"
        with up(dcss, dcss.config(guests, segment=segments)):
            command = ("sh", "-c", "mount; cat /proc/meminfo")
            seen[how] = [dcss("exec", name, "--", *command).stdout for name in ("G01", "G02")]
    assert seen["clone"] == seen["full"]


@pytest.mark.slow
def test_clones_that_cp_all_answers_otherwise_boot_in_full(dcss: Dcss) -> None:
    dcss("segment", "define", "SECRET", "30000-303FF SR", "--rstd", "--system", dcss.system)
    dcss("segment", "save", "SECRET", "--image", dcss.home / "tree", "--system", dcss.system)
    alike = f"dcssblk: [LIB, SECRET], {GUEST}, {MAP}"
    segments = "  - {name: LIB, at: 0x20000000, image: {directory: tree}}\n  - {name: SECRET}"
    # The specifications are the same, and so is the template; CP refuses SECRET to those without namesave.
    config = dcss.config(
        f"name: A, count: 2, namesave: [SECRET], {alike}", f"name: B, count: 12, {alike}", segment=segments
    )
    with up(dcss, config):
        assert set(dcss.states().values()) == {"ready"}
        loaded = {each["name"]: each["segments"] for each in dcss.ps()["guests"]}
        assert all(("SECRET" in " ".join(names)) is name.startswith("A") for name, names in loaded.items()), loaded
        logs = {tuple(messages(dcss("logs", f"B{number:02}").stdout)) for number in range(1, 13)}
        assert len(logs) == 1
