"""What `dcss config` says that a configuration would start."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import private_directories

from dcss.config.load import load_plan
from dcss.errors import ConfigError
from dcss.progress import SilentProgress
from dcss.report.layout import render_page
from dcss.report.preview_view import preview_page
from dcss.report.style import Style
from dcss.system.preview import GuestsPreview, StepPreview, SystemPreview, preview


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory of four files, one of them in a directory that guests mount over."""
    tree = tmp_path / "tree"
    for name, size_bytes in {"usr/lib/a.so": 5000, "usr/lib/b.so": 100, "usr/notes": 7, "tmp/x": 9}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(bytes(range(1, 201)) * (size_bytes // 200) + b"x" * (size_bytes % 200))
    with private_directories():
        yield tree


def shown(tmp_path: Path, *lines: str) -> SystemPreview:
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(lines))
    return preview(load_plan(path), SilentProgress())


def steps(entry: GuestsPreview) -> list[tuple[str, int | None, int | None]]:
    return [(step.step, step.files, step.bytes) for step in entry.steps]


DEVICE = "dcssblk: [LIB], mounts: [{device: dcssblk0, at: %s, options: [%s]}]"


def test_segments_show_what_goes_in_and_who_maps_it(tree: Path, tmp_path: Path) -> None:
    found = shown(
        tmp_path,
        "segments:",
        f"  - {{name: LIB, at: 0x20000000, image: {{files: ['{tree}/usr/lib/*', '{tree}/usr/notes']}}}}",
        f"  - {{name: DIR, at: 0x30000000, size: 1M, image: {{directory: '{tree}'}}}}",
        "  - {name: WORK, at: 0x40000000, type: SN, size: 64K}",
        "guests:",
        f"  - {{name: USER, count: 2, {DEVICE % ('/mnt', 'ro, xip')}}}",
        f"  - {{name: DAX, {DEVICE % ('/mnt', 'ro, dax')}}}",
        f"  - {{name: BASE, expect: copies, {DEVICE % ('/mnt', 'ro')}}}",
        "  - {name: IDLE, dcssblk: [WORK, DIR]}",
    )
    assert (found.system, found.config) == ("config", str(tmp_path / "config.yaml"))
    lib, directory, work = found.segments
    assert (lib.name, lib.start, lib.content) == ("LIB", 0x20000000, "files of this machine")
    assert (lib.end, lib.ranges) == (lib.start + lib.bytes - 1, (f"20000-{(lib.end >> 12):X} SR",))
    assert (lib.files, lib.file_bytes, lib.left_out) == (3, 5107, 0)
    assert [(each.pattern, each.files) for each in lib.patterns] == [(f"{tree}/usr/lib/*", 2), (f"{tree}/usr/notes", 1)]
    assert (lib.in_place, lib.copied) == (("USER01", "USER02", "DAX"), ("BASE",))
    assert (directory.content, directory.bytes, directory.files) == (str(tree), 1 << 20, 4)
    assert (directory.patterns, directory.in_place, directory.copied) == ((), (), ())
    assert (work.content, work.bytes, work.files, work.file_bytes) == ("zeros", 64 << 10, None, None)
    assert (work.left_out, work.patterns, work.notes) == (0, (), ())


def test_guests_of_one_entry_are_shown_once(tree: Path, tmp_path: Path) -> None:
    found = shown(
        tmp_path,
        f"segments: [{{name: LIB, at: 0x20000000, image: {{directory: '{tree}'}}}}]",
        "guests:",
        "  - {name: FIRST, storage: 32M, dcssblk: []}",
        f"  - {{name: USER, count: 3, after: [FIRST], {DEVICE % ('/', 'ro, xip')}}}",
    )
    first, users = found.guests
    assert (first.names, first.storage_bytes, first.mounts, first.segments) == (("FIRST",), 32 << 20, (), ())
    assert (users.names, users.engine, users.after) == (("USER01", "USER02", "USER03"), "process", ("FIRST",))
    assert (users.segments, users.mounts) == (("LIB",), ("dcssblk0 at / (ro, xip)",))
    assert (users.expect, users.steps) == ("shared", ())


def test_steps_are_matched_in_the_file_system_that_they_begin_in(tree: Path, tmp_path: Path) -> None:
    run = [
        "map: /usr/lib/*.so",
        "read: /usr/**",
        "map: /tmp/*",
        "map: /mnt/tmp/*",
        "exec: [ls, 'a b']",
        "map: /other/*",
    ]
    found = shown(
        tmp_path,
        "segments:",
        f"  - {{name: LIB, at: 0x20000000, image: {{directory: '{tree}'}}}}",
        f"  - {{name: MORE, at: 0x30000000, image: {{files: ['{tree}/tmp/x']}}}}",
        "guests:",
        "  - name: G",
        "    dcssblk: [LIB, MORE]",
        "    mounts:",
        "      - {device: dcssblk0, at: /, options: [ro, xip]}",
        "      - {device: dcssblk0, at: /mnt, options: [ro, xip]}",
        "      - {device: dcssblk1, at: /other, options: [ro, xip]}",
        f"    run: [{', '.join(f'{{{step}}}' for step in run)}]",
    )
    (guests,) = found.guests
    assert steps(guests) == [
        ("map /usr/lib/*.so", 2, 5100),
        ("read /usr/**", 3, 5107),
        ("map /tmp/*", None, None),
        ("map /mnt/tmp/*", 1, 9),
        ("exec ls 'a b'", None, None),
        ("map /other/*", 0, 0),
    ]
    assert found.warnings == (
        f"{tmp_path}/config.yaml:5: G: map /other/*: matches no file there: the guest would fail",
    )


def test_what_is_not_mounted_from_a_planned_image_is_not_known(tree: Path, tmp_path: Path) -> None:
    found = shown(
        tmp_path,
        "segments: [{name: WORK, at: 0x40000000, type: SN, size: 64K}]",
        "guests:",
        "  - {name: NONE, run: [{map: '/usr/*'}]}",
        "  - {name: EMPTY, dcssblk: [WORK], mounts: [{device: dcssblk0, at: /mnt}], run: [{read: '/mnt/*'}]}",
    )
    assert [entry.steps for entry in found.guests] == [
        (StepPreview("map /usr/*", None, None),),
        (StepPreview("read /mnt/*", None, None),),
    ]
    assert found.guests[1].mounts == ("dcssblk0 at /mnt",)


def test_all_that_would_be_refused_comes_at_once(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        shown(
            tmp_path,
            "segments:",
            f"  - {{name: ONE, at: 0x20000000, image: {{files: ['{tree}/no/*']}}}}",
            f"  - {{name: TWO, at: 0x30000000, size: 4K, image: {{directory: '{tree}'}}}}",
            "guests:",
            f"  - {{name: G, run: [{', '.join(f'{{map: /{number:0>400}}}' for number in range(400))}]}}",
        )
    found = [finding.removeprefix(f"{tmp_path}/config.yaml:").split(": ")[0] for finding in caught.value.findings]
    assert found == ["5", "2", "3"]


def test_guests_whose_segments_would_overlap_are_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "large").write_bytes(b"x" * (2 << 20))
    with pytest.raises(ConfigError, match="guest G: found segments A and B in one megabyte"):
        shown(
            tmp_path,
            "segments:",
            f"  - {{name: A, at: 0x40000000, image: {{directory: '{tree}'}}}}",
            "  - {name: B, at: 0x40100000, size: 1M, type: SN}",
            "guests: [{name: G, dcssblk: [A, B]}]",
        )


def test_each_segment_of_the_page_says_who_mounts_it(tree: Path, tmp_path: Path) -> None:
    found = shown(
        tmp_path,
        "segments:",
        f"  - {{name: LIB, at: 0x20000000, image: {{files: ['{tree}/usr/lib/*']}}}}",
        f"  - {{name: DIR, at: 0x30000000, size: 1M, image: {{directory: '{tree}'}}}}",
        "guests:",
        f"  - {{name: USER, {DEVICE % ('/mnt', 'ro, xip')}}}",
    )
    page = render_page(preview_page(found), Style())
    assert "\nLIB: mapped in place by USER\n" in page
    assert "\nDIR: mounted by no guest before its `run:` list begins\n" in page
