"""The systems under configs/ run as they are, and each is verified; and the order of guests that come after others."""

import json
from pathlib import Path

import pytest
import yaml
from cli_support import Dcss
from debian_support import lend_packages
from ext2_support import content, e2fs, map_image
from needs_support import needs

from dcss.cli.init import placed
from dcss.ext2.volume import Volume
from dcss.host.paths import cache_directory
from dcss.host.process import start_ticks

CONFIGS = Path(__file__).parents[2] / "configs"
MARKS: dict[str, list[pytest.MarkDecorator]] = {  # `make demo` runs the first, in every run of CI
    "demo": [pytest.mark.slow],
    "hundred": [pytest.mark.slow],
    "debian-s390x": [needs("debian_archive"), pytest.mark.slow],
    "linux": [
        needs("debian_archive", "qemu-system-s390x", "qemu-system-x86_64"),
        pytest.mark.slow,
        pytest.mark.minutes,
    ],
}


@pytest.mark.parametrize(
    "config",
    [pytest.param(path, id=path.stem, marks=MARKS.get(path.stem, ())) for path in sorted(CONFIGS.glob("*.yaml"))],
)
def test_a_ready_system_is_verified(dcss: Dcss, config: Path) -> None:
    """With a name of its own, so that it may run beside another's."""
    text = placed(config.read_bytes()).decode().replace(f"system: {config.stem}\n", f"system: {dcss.system}\n")
    (dcss.home / "ready.yaml").write_text(text)
    if config.stem == "linux" and dcss.uid is None:
        dcss.environment["XDG_CACHE_HOME"] = str(cache_directory().parent)  # it is large
    elif config.stem in {"debian-s390x", "linux"}:
        lend_packages(dcss)
    done = dcss.json("run", dcss.home / "ready.yaml", timeout_seconds=500)
    assert done["verify"]["verdict"] == "verified"
    assert all(guest["exit_status"] == 0 for guest in done["guests"])
    assert done["measure"]["totals"]["saved_bytes"] > 0
    if config.stem == "demo":
        assert any(file["path"].endswith("/libc.so.6") and file["shared"] for file in done["verify"]["files"])
    if config.stem == "debian-s390x":
        executed = {
            file["path"]: file for file in done["verify"]["files"] if file["path"] in {"/usr/bin/bash", "/usr/bin/ls"}
        }
        assert len(executed) == 2
        assert all(len(file["guests"]) >= 8 and file["shared"] for file in executed.values())
    if config.stem == "linux":
        assert any(len(file["guests"]) == 4 and file["shared"] for file in done["verify"]["files"])
    if config.stem == "modes":
        costs = {guest["mounts"][0]["mode"]: guest["host"]["uss_bytes"] for guest in done["measure"]["guests"]}
        assert costs["xip"] < costs["page-cache"] < costs["ramdisk"]
        assert costs["mtd"] < costs["page-cache"]
    assert yaml.safe_load(config.read_text())["system"] == config.stem
    dcss.assert_nothing_left()


def test_the_administrators_segment_is_what_was_prepared_and_outlives_the_system(dcss: Dcss) -> None:
    """Twice: the second time there is a version to replace."""
    text = (CONFIGS / "administrator.yaml").read_text().replace("administrator\n", f"{dcss.system}\n")
    image = dcss.home / "master.img"
    dcss("image", "build", dcss.home / "tree", "-o", image)
    text = text[: text.index("    image:")] + f"    image: {{ext2: {image}}}\n" + text[text.index("\nguests:") :]
    (dcss.home / "admin.yaml").write_text(text)
    for spid in (3, 6):
        done = dcss.json("run", dcss.home / "admin.yaml")
        shared = [file for file in done["verify"]["files"] if file["segment"] == "MYDCSS"]
        assert len(shared) == 20
        assert all(file["guests"] == ["USER01", "USER02", "USER03"] and file["shared"] for file in shared)
        (saved,) = dcss.json("segment", "query", "--system", dcss.system)["segments"]
        assert (saved["name"], saved["class"], saved["file"]) == ("MYDCSS", "A", spid)
    dcss("segment", "export", "MYDCSS", dcss.home / "saved.img", "--system", dcss.system)
    saved_image = dcss.home / "saved.img"
    assert saved_image.stat().st_size == 0x1800 << 12
    e2fs("e2fsck", "-fn", saved_image)
    assert files_of(saved_image) == files_of(image)  # by mke2fs, mount and cp in a guest


def files_of(image: Path) -> dict[bytes, tuple[int, bytes]]:
    """Return mode and content of every file below /usr."""
    source = map_image(image)
    volume = Volume.mount(source)
    return {
        path: (inode.mode, content(source, volume, inode) if inode.is_regular else b"")
        for path, inode in volume.walk()
        if path.startswith(b"/usr")
    }


def test_a_guest_starts_when_those_before_it_are_ready(dcss: Dcss) -> None:
    """LAST maps what FIRST and both of PAIR have put into a segment that all share, in the order of their starts."""
    segment = "  - {name: BOARD, define: [20000-200FF SN]}"
    config = dcss.config(
        'name: LAST, after: [PAIR], expect: nothing, run: [{exec: "head -c 6 /dev/dcssblk0"}]',
        'name: FIRST, expect: nothing, run: [{exec: "echo first > /dev/dcssblk0"}]',
        'name: PAIR, count: 2, after: [FIRST], expect: nothing, run: [{exec: "head -c 6 /dev/dcssblk0"}]',
        segment=segment,
    )
    dcss("up", config, "-d")
    assert dcss.states() == dict.fromkeys(["LAST", "FIRST", "PAIR01", "PAIR02"], "ready")
    for guest in ("PAIR01", "PAIR02", "LAST"):
        assert "first" in dcss("logs", guest).stdout
    started = {guest["name"]: start_ticks(guest["pid"]) or 0 for guest in dcss.ps()["guests"]}  # process ids begin anew
    pair = [started["PAIR01"], started["PAIR02"]]
    assert 0 < started["FIRST"] <= min(pair) <= max(pair) <= started["LAST"]


def test_what_comes_after_a_guest_that_failed_fails_and_is_not_started(dcss: Dcss) -> None:
    config = dcss.config(
        'name: A, expect: nothing, run: [{exec: ["false"]}]',
        "name: B, after: [A], restart: on-failure, expect: nothing",
        "name: C, after: [B], expect: nothing",
        "name: D, expect: nothing",
    )
    done = dcss("run", config, "--json", status=3)
    outcomes = {guest["name"]: guest for guest in json.loads(done.stdout)["guests"]}
    assert outcomes["D"]["exit_status"] == 0
    assert [outcomes[name]["exit_status"] for name in "ABC"] == [1, 71, 71]
    assert outcomes["B"]["log"] == "not started, since it comes after A, which is failed"
    assert outcomes["C"]["log"] == "not started, since it comes after B, which is failed"
    assert outcomes["B"]["log"] in dcss("run", config, status=3).stdout


def test_a_guest_that_waits_can_be_stopped_and_started_by_hand(dcss: Dcss) -> None:
    config = dcss.config(
        'name: A, expect: nothing, run: [{exec: "echo NOSUCH > /sys/devices/dcssblk/add"}]',
        "name: B, after: [A], expect: nothing",
    )
    dcss("up", config, "-d", status=3)
    assert dcss.states() == {"A": "failed", "B": "failed"}
    dcss("guest", "start", "B")
    assert dcss.states()["B"] == "ready"
