"""The emulated dcssblk and extmem beside those of Debian's kernels: the same writes, the same errors, the same log.

DCSS_REAL_KERNELS names other kernels, as SUITE or SUITE:PACKAGE.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from compared_support import (
    BLOCK,
    DRIVER,
    IOMEM,
    LIST,
    LOOK,
    NAMES,
    TOGETHER,
    WRONG,
    Done,
    Side,
    config,
    random_contents,
    random_steps,
    store,
    tree,
)
from needs_support import needs

import dcss

pytestmark = [
    pytest.mark.slow,
    pytest.mark.minutes,
    needs("debian_archive", "qemu-system-s390x"),
    pytest.mark.timeout(900),
]

KERNELS = os.environ.get("DCSS_REAL_KERNELS", "bookworm").split()
DISK = "/sys/block/dcssblk0"
MOUNT = "mount -t ext2 -o ro /dev/dcssblk0 /mnt"
TYPES = ["LIB", "ER", "SW", "SN", "EW", "EN", "MIX", "SC"]
ODD_NAMES = ["", ":", ":A", "A::B", " A", "A:TOOLONGNAME", "A:B:A", "a:B", "A\nB", "A:B\n", "A\n:B", "ER:A", "A:ER"]
SECOND_NAME = "LIB "  # another name to dcssblk, and to CP the segment LIB
PAGES_ONCE = (6, 18)  # from here on a segment has struct pages, and a second device of it cannot be made
SHARED = ["1", "0", "0", "x", "01", "1x", "0\n", "1\n", "", "00", "2", "1 "]


class Pair:
    """A guest of each engine, in a system of its own: what one writes or saves, the other does not get."""

    def __init__(self, real: dcss.System, emulated: dcss.System) -> None:
        self.real, self.emulated = Side(real), Side(emulated)
        self.second_names = self.real.release() < PAGES_ONCE

    def random_steps(self, seed: int, count: int = 16) -> list[str]:
        """Return random steps of which each can do the same in both."""
        return random_steps(seed, count, without="" if self.second_names else SECOND_NAME)

    def compare(self, *lines: str) -> list[Done]:
        """Run lines in both and return what they did, which is the same."""
        real, emulated = self.real.run(lines), self.emulated.run(lines)
        for here, there in zip(emulated[0], real[0], strict=True):
            assert here == there, "\n".join(lines)
        assert emulated[1] == real[1], "\n".join(lines)
        return real[0]


@pytest.fixture(scope="module", params=KERNELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory: Path = tmp_path_factory.mktemp("compared")
    for each in ("run", "state"):
        (directory / each).mkdir(mode=0o700)
    tree(directory)
    environment = {"XDG_RUNTIME_DIR": str(directory / "run"), "XDG_STATE_HOME": str(directory / "state")}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in environment.items():
            patch.setenv(name, value)
        real, emulated = (
            stack.enter_context(dcss.System(config(each), directory=directory)) for each in (request.param, "")
        )
        yield Pair(real, emulated)


@pytest.fixture(autouse=True)
def no_device_left(pair: Pair) -> Iterator[None]:
    yield
    for side in (pair.real, pair.emulated):
        side.clear()


@pytest.mark.parametrize("text", [*NAMES, *TOGETHER, *WRONG, *ODD_NAMES])
def test_what_is_added_is_looked_at_and_removed(pair: Pair, text: str) -> None:
    name = re.split("[\n:]", text, maxsplit=1)[0].strip()
    shown = [f"cat {DRIVER}/{name.upper()}/{each}" for each in ("seglist", "shared", "save")] if name else []
    pair.compare(store("add", text), *LOOK, *shown, f"cat {DISK}/size", f"cat {DISK}/ro", store("remove", name), LIST)


def test_a_segment_is_in_one_device_under_each_of_its_names(pair: Pair) -> None:
    second = [SECOND_NAME] if pair.second_names else []
    adds = [store("add", text) for text in ("LIB", "LIB", "lib", *second, "A:LIB")]
    removes = [store("remove", text) for text in ("A", "LIB", "LIB ", "", "TOOLONGNAME", "LIB")]
    pair.compare(*adds, *LOOK, *removes, *LOOK)


def test_a_device_is_removed_by_the_name_of_its_first_segment(pair: Pair) -> None:
    removes = [store("remove", text) for text in ("B", "A:B", "a\nand more")]
    pair.compare(store("add", "A:B"), store("add", "B"), store("add", "B:A"), *removes, *LOOK)


def test_segments_that_overlap_or_share_a_megabyte_go_one_at_a_time(pair: Pair) -> None:
    lines = [store("add", "HALF"), store("add", "OTHER"), IOMEM, store("remove", "HALF"), store("add", "OTHER")]
    lines += [store("add", "A"), store("add", "OVER"), store("add", "B"), *LOOK, store("remove", "A")]
    pair.compare(*lines, store("remove", "B"), store("add", "OVER"), store("add", "A"))


@pytest.mark.parametrize("name", TYPES)
def test_access_modes_by_type(pair: Pair, name: str) -> None:
    steps = ((store(f"{name}/shared", text), f"cat {DRIVER}/{name}/shared", f"cat {DISK}/ro") for text in SHARED)
    pair.compare(store("add", name), *(line for step in steps for line in step), *LOOK)


@pytest.mark.parametrize("name", TYPES)
def test_saves_by_type(pair: Pair, name: str) -> None:
    steps = ((store(f"{name}/save", text), f"cat {DRIVER}/{name}/save") for text in SHARED)
    lines = [store("add", name), *(line for step in steps for line in step)]
    pair.compare(
        *lines, store(f"{name}/shared", "0"), store(f"{name}/save", "1"), store("remove", name), store("add", name)
    )


def test_a_device_in_use_refuses_and_saves_when_it_is_idle(pair: Pair) -> None:
    busy = [store("remove", "LIB"), *(store("LIB/shared", text) for text in ("0", "1", "x", "xx"))]
    saves = [line for text in "11001" for line in (store("LIB/save", text), f"cat {DRIVER}/LIB/save")]
    done = pair.compare(store("add", "LIB"), MOUNT, *busy, *saves, "umount /mnt", f"cat {DRIVER}/LIB/save")
    assert [each.error for each in done[2:7]] == ["Device or resource busy"] * 4 + ["Invalid argument"]


def test_disks_have_the_lowest_numbers_that_are_free(pair: Pair) -> None:
    adds = [store("add", name) for name in ("A", "B", "C")]
    pair.compare(*adds, BLOCK, store("remove", "B"), store("add", "ER"), BLOCK, store("remove", "A"), BLOCK)


def test_files_that_are_not_there_or_cannot_be_read_or_written(pair: Pair) -> None:
    lines = [store("nosuch", ""), f"cat {DRIVER}/add", f"cat {DRIVER}/LIB/shared", store("LIB/shared", "1")]
    pair.compare(*lines, store("add", "A:B"), store("A/seglist", "x"), store("B/shared", "0"), f"mkdir {DRIVER}/x")


@pytest.mark.parametrize("seed", range(12))
def test_random_steps(pair: Pair, seed: int) -> None:
    pair.compare(*pair.random_steps(seed))


def test_hundreds_of_random_steps_one_after_the_other(pair: Pair) -> None:
    pair.compare(*pair.random_steps(100, 300))


@pytest.mark.parametrize("seed", range(6))
def test_random_contents(pair: Pair, seed: int) -> None:
    pair.compare(*random_contents(seed))


def test_what_is_known_to_differ(pair: Pair) -> None:
    """docs/real-driver.md lists it: what newer kernels have changed."""
    lines = [store("add", "INSIDE"), store("add", "A"), "echo x > /dev/dcssblk0", f"ls {DRIVER}/A/block"]
    (real, real_log), (emulated, log) = pair.real.run(lines), pair.emulated.run(lines)
    assert [each.error for each in real] == ["Device or resource busy", "", "Operation not permitted", ""]
    assert [each.error for each in emulated] == ["No space left on device", "", "Input/output error", ""]
    assert real_log[0] == "extmem: INSIDE needs used memory resources and cannot be loaded or queried"
    assert log[0] == "extmem: DCSS INSIDE overlaps with used storage and cannot be loaded"
    assert "dcssblk: Writing to A failed because it is a read-only device" in log
    assert not [line for line in real_log if "Writing" in line]
    assert real[3].printed == ("dcssblk0",)


def test_a_second_name_is_what_newer_kernels_fail_at(pair: Pair) -> None:
    """The last test, since what this leaves in such a kernel cannot be removed."""
    lines = [store("add", "LIB"), store("add", SECOND_NAME), LIST, store("remove", SECOND_NAME)]
    (real, _), (emulated, _) = pair.real.run(lines), pair.emulated.run(lines)
    assert [each.error for each in emulated] == ["", "", "", ""]
    assert emulated[2].printed == ("LIB", SECOND_NAME, "add", "remove")
    assert real[2] == emulated[2]
    if pair.second_names:
        assert real == emulated
    else:
        assert [each.error for each in real] == ["", "Cannot allocate memory", "", "No such device"]
