"""Publication: images that are saved first, saved segments, and pages that begin as zeros."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp, define, filler
from loop_support import in_event_loop

from dcss.abi.extmem import SegmentName
from dcss.config.load import load_plan
from dcss.cp.program import ControlProgram
from dcss.cp.segments.segment import Segment
from dcss.errors import ConfigError, LaunchError
from dcss.progress import SilentProgress, Unit
from dcss.system.extents import ExtentCache
from dcss.system.publish import _Copying, publish_segments


class Phases(SilentProgress):
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[str] = []
        self.warnings: list[str] = []

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        self.phases.append(name)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Stage:
    """A CP, a directory to make images of, and publications of a configuration."""

    def __init__(self, cp: BlockingCp, directory: Path) -> None:
        self.cp, self.directory = cp, directory
        self.tree = directory / "tree"
        self.tree.mkdir()
        (self.tree / "file").write_bytes(b"one" * 1000)

    def publish(self, *segments: str) -> list[str]:
        """Publish segments as a system's first start does; return the phases."""
        path = self.directory / "config.yaml"
        path.write_text("segments:\n" + "".join(f"  - {{{each}}}\n" for each in segments))
        self.progress = Phases()
        self.cp.run(publish_segments(self.cp.cp, load_plan(path), self.progress, ExtentCache()))
        return self.progress.phases

    def available(self, name: str) -> Segment:
        return self.cp.available[SegmentName(name)]

    @property
    def image(self) -> str:
        return f"image: {{directory: '{self.tree}'}}"


@pytest.fixture
def stage(control_program: BlockingCp, tmp_path: Path) -> Iterator[Stage]:
    yield Stage(control_program, tmp_path)


def test_an_image_is_published_and_not_saved(stage: Stage) -> None:
    assert stage.publish(f"name: LIB, at: 0x20000000, {stage.image}") == ["plan LIB", "publish LIB"]
    segment = stage.available("LIB")
    assert segment.saved_digest is None
    assert segment.stored is not None
    assert b"one" * 1000 in bytes(segment.stored.buffer)


def test_an_image_is_saved_once_and_again_when_it_differs(stage: Stage) -> None:
    lib = f"name: LIB, at: 0x20000000, size: 64K, save: true, {stage.image}"
    assert stage.publish(lib) == ["plan LIB", "save LIB", "load LIB"]
    first = stage.available("LIB")
    assert first.saved_digest is not None
    assert stage.publish(lib) == ["plan LIB", "compare LIB", "load LIB"]
    assert stage.available("LIB") is first
    (stage.tree / "file").write_bytes(b"two" * 1000)
    assert stage.publish(lib) == ["plan LIB", "compare LIB", "save LIB", "load LIB"]
    second = stage.available("LIB")
    assert (second.spid != first.spid, second.saved_digest != first.saved_digest) == (True, True)
    assert second.stored is not None
    assert b"two" * 1000 in bytes(second.stored.buffer)
    moved = lib.replace("0x20000000", "0x30000000")
    assert stage.publish(moved) == ["plan LIB", "save LIB", "load LIB"]
    assert stage.available("LIB").definition.start == 0x30000000


def test_a_saved_segment_is_loaded_where_it_was_saved(stage: Stage) -> None:
    stage.cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"saved"))
    assert stage.publish("name: LIB") == ["load LIB"]
    assert stage.publish("name: LIB, at: 0x20000000") == ["load LIB"]
    assert stage.publish("name: LIB, at: 0x20000000, size: 64K") == ["load LIB"]
    for elsewhere in ("at: 0x30000000", "at: 0x20000000, size: 128K", "at: 0x20000000, type: ER"):
        with pytest.raises(ConfigError, match="wanted 20000-2000F SR, as it is saved; leave that out, or save it anew"):
            stage.publish(f"name: LIB, {elsewhere}")


def test_a_segment_that_is_nowhere_begins_as_zeros_only_where_guests_may_write(stage: Stage) -> None:
    assert stage.publish("name: WORK, at: 0x40000000, type: SN, size: 64K") == ["publish WORK"]
    segment = stage.available("WORK")
    assert segment.stored is not None
    assert bytes(segment.stored.buffer) == bytes(64 << 10)
    for missing in ("name: LIB", "name: LIB, at: 0x20000000, size: 64K"):
        with pytest.raises(ConfigError, match="segment LIB: found no image:, and no saved segment LIB in the spool"):
            stage.publish(missing)


def test_a_saved_segment_that_is_purged_meanwhile_is_an_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"saved"))

    async def purged(_: ControlProgram, name: SegmentName, **_options: object) -> Segment:
        raise KeyError(name)

    monkeypatch.setattr(ControlProgram, "open", purged)
    with pytest.raises(LaunchError, match="segment LIB: purged while the system was being published"):
        stage.publish("name: LIB")


def test_notes_about_an_image_are_warnings_that_name_the_segment(stage: Stage) -> None:
    (stage.tree / "large").write_bytes(b"x" * (2 << 20))
    stage.publish(f"name: LIB, at: 0x20100000, {stage.image}")
    assert len(stage.progress.warnings) == 1
    assert stage.progress.warnings[0].startswith("segment LIB: ")


@in_event_loop
async def test_a_copy_that_is_cancelled_ends_at_its_next_step_and_is_waited_for() -> None:
    copying = _Copying(SilentProgress())
    begun, ended = asyncio.Event(), []

    async def copy() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    copying.advance(1)
    publishing = asyncio.create_task(copying.finish(copy()))
    await begun.wait()
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert ended == [True]
    with pytest.raises(asyncio.CancelledError):
        copying.advance(1)
