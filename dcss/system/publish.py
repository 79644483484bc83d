"""From segments' plans to shared memory: all are planned first, so their sizes are known before any is made."""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from tempfile import TemporaryFile
from typing import Any, TypeVar

from dcss.abi.extmem import SegmentDefinition
from dcss.config.plan import SegmentPlan, SystemPlan, image_groups
from dcss.cp.program import ControlProgram
from dcss.cp.segments.content import Fill, check_image, copy_descriptor, file_digest, write_content
from dcss.cp.segments.objects import DamagedError
from dcss.cp.segments.segment import Segment
from dcss.errors import ConfigError, LaunchError, SpoolError
from dcss.host.aio import cancel, in_thread
from dcss.host.paths import state_directory
from dcss.host.shm import check_space
from dcss.image.build import ImagePlan
from dcss.progress import Progress
from dcss.system.address_layout import check_address_layout
from dcss.system.extents import ExtentCache
from dcss.system.huge_pages import check_huge_pages
from dcss.system.moving import ThreadProgress, moving
from dcss.system.planned import PlannedSegment, plan_segments
from dcss.system.targets import objects_of, segment_targets

Result = TypeVar("Result")


class _Copying(ThreadProgress):
    """The progress of a copy in a thread, which can be stopped."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress)
        self._stopped = False

    def advance(self, amount: int = 1) -> None:
        """Pass it on. Raises CancelledError once the copy is to stop."""
        if self._stopped:
            raise asyncio.CancelledError
        super().advance(amount)

    def stop(self) -> None:
        """Have the copy end at its next step."""
        self._stopped = True

    async def finish(self, operation: Coroutine[Any, Any, Result]) -> Result:
        """Await an operation of CP that copies, and return its result; cut the copy short if this is cancelled."""
        task = asyncio.ensure_future(operation)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.stop()
            await cancel(task)
            raise


async def publish_segments(cp: ControlProgram, plan: SystemPlan, progress: Progress, extents: ExtentCache) -> None:
    """Bring every segment of the plan into storage: its image, which `save:` saves first, or the saved segment.

    An image that is saved already, byte by byte and in that place, is not saved again: the file stays the one it was.
    Nothing is made where not all of them have room. `extents` gets where the files of each segment lie. Raises
    ConfigError, ImageError, PublishError, SpoolError, LaunchError, and DamagedError where a saved segment is not what
    was saved.
    """
    planned = await _plan_all(cp, plan.segments, progress)
    check_address_layout({each.definition.name: each.definition for each in planned}, plan.guests)
    if len(planned) > 1:  # one alone is checked when it is made
        names = ", ".join(each.definition.name for each in planned)
        check_space(f"segment {names}", sum(each.definition.size_bytes for each in planned))
    for each in planned:
        with cp.pinned_versions():
            segment = await _publish(cp, each, progress)
            if each.plan.huge_pages == "require":
                await in_thread(check_huge_pages, each.plan, segment)
    with cp.pinned_versions():
        await in_thread(extents.with_files, segment_targets(cp), objects_of(cp))


async def _plan_all(cp: ControlProgram, segments: Sequence[SegmentPlan], progress: Progress) -> list[PlannedSegment]:
    """Plan every segment. Raises one ConfigError with what is wrong with all of them."""
    planned: list[PlannedSegment] = []
    findings: list[str] = []
    saved = {name: segment.definition for name, segment in cp.available.items()}
    for group in image_groups(segments):
        if group[0].image is not None:  # patterns may search many directories
            progress.phase(f"plan {':'.join(segment.name for segment in group)}")
        try:
            async with moving(progress):
                planned += await in_thread(plan_segments, group, saved, cp.system)
        except ConfigError as error:
            findings += error.findings
    if findings:
        raise ConfigError(*findings)
    return planned


async def _publish(cp: ControlProgram, planned: PlannedSegment, progress: Progress) -> Segment:
    if planned.image is not None:
        return await _publish_image(cp, planned, planned.image, progress)
    if planned.saved:
        return await _load(cp, planned, progress)
    progress.phase(f"publish {planned.definition.name}")
    return await cp.publish(planned.definition, lambda _: None, huge=planned.huge)


async def _publish_image(cp: ControlProgram, planned: PlannedSegment, image: ImagePlan, progress: Progress) -> Segment:
    definition, save = planned.definition, planned.plan.save
    copying = _Copying(progress)

    def fill(descriptor: int) -> None:
        image.write(descriptor, copying.advance, zeros=True)  # what CP gives to be filled

    compare = save and _may_be_saved(cp, definition)
    verb = "compare" if compare else "save" if save else "publish"
    progress.phase(f"{verb} {definition.name}", image.content_bytes, "bytes")
    for note in image.notes:
        progress.warn(f"segment {definition.name}: {note}")
    if compare:
        check_image(definition, image.size_bytes)
        return await _save_what_differs(cp, planned, fill, progress, copying)
    if save:
        await copying.finish(cp.saved.store(definition, fill, image_bytes=image.size_bytes))
        return await _load(cp, planned, progress)
    return await copying.finish(cp.publish(definition, fill, image_bytes=image.size_bytes, huge=planned.huge))


def _may_be_saved(cp: ControlProgram, definition: SegmentDefinition, digest: str | None = None) -> bool:
    """Whether the spool holds a segment of this definition and, where it is known, this digest."""
    held = cp.available.get(definition.name)
    if held is None or held.saved_digest is None or held.definition != definition:
        return False
    return digest is None or held.saved_digest == digest


async def _save_what_differs(
    cp: ControlProgram, planned: PlannedSegment, fill: Fill, progress: Progress, copying: _Copying
) -> Segment:
    """Load the saved segment where `fill` writes the same content; otherwise save that, and load it."""
    definition = planned.definition
    try:
        # Where there is room for a segment, and no name that a crash would leave.
        with TemporaryFile(dir=state_directory() / cp.system) as content:
            write = partial(write_content, definition, fill, content.fileno(), saved_only=True)
            await in_thread(write, on_cancel=copying.stop)
            if _may_be_saved(cp, definition, await in_thread(file_digest, content.fileno())):
                # One that is damaged is set aside and reported: its manifest had this digest, its content has not.
                with suppress(DamagedError):
                    return await _load(cp, planned, progress)
            progress.phase(f"save {definition.name}")
            await cp.saved.store(definition, _copy_of(content.fileno()))
    except OSError as error:
        raise SpoolError(
            f"segment {definition.name}: {definition.size_bytes} bytes could not be written to the spool of system"
            f" {cp.system}: {error}"
        ) from error
    return await _load(cp, planned, progress)


def _copy_of(source_fd: int) -> Fill:
    return lambda write_fd: copy_descriptor(source_fd, write_fd, os.fstat(source_fd).st_size)


async def _load(cp: ControlProgram, planned: PlannedSegment, progress: Progress) -> Segment:
    name = planned.definition.name
    progress.phase(f"load {name}")
    try:
        return await cp.open(name, huge=planned.huge)
    except KeyError:  # clients are served while others are published
        raise LaunchError(f"segment {name}: purged while the system was being published") from None
