"""Say what a configuration would start: addresses, sizes, matches and what will be shared. Nothing is made for it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from dcss.config.names import mounted_segments
from dcss.config.plan import GuestPlan, MountPlan, Step, SystemPlan, image_groups
from dcss.config.sources import DebianSource, DirectorySource, Ext2Source, FilesSource, TarSource
from dcss.cp.spool.definitions import saved_definitions
from dcss.engines.registry import ENGINES
from dcss.errors import ConfigError
from dcss.image.build import ImagePlan
from dcss.progress import Progress
from dcss.results import Result
from dcss.system.address_layout import check_address_layout
from dcss.system.matching import matches, trees_of
from dcss.system.planned import PlannedSegment, plan_segments
from dcss.system.system import make_engines


@dataclass(frozen=True, slots=True)
class PatternPreview:
    """A pattern of `files:` and how many files it matches, before `up_to:` leaves any out."""

    pattern: str
    files: int


@dataclass(frozen=True, slots=True)
class SegmentPreview:
    """A segment: its absolute addresses, what goes in, and which guests map it in place or copy it."""

    name: str
    start: int
    end: int
    bytes: int
    ranges: tuple[str, ...]
    content: str
    files: int | None
    file_bytes: int | None
    left_out: int
    patterns: tuple[PatternPreview, ...]
    notes: tuple[str, ...]
    in_place: tuple[str, ...]
    copied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepPreview:
    """A step of `run:`; for `map` and `read`, how many files match and their bytes, None where that is not known."""

    step: str
    files: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class GuestsPreview:
    """The guests of one entry of the YAML."""

    names: tuple[str, ...]
    engine: str
    storage_bytes: int
    expect: str
    segments: tuple[str, ...]
    mounts: tuple[str, ...]
    after: tuple[str, ...]
    steps: tuple[StepPreview, ...]


@dataclass(frozen=True, slots=True)
class SystemPreview(Result):
    """A system as it would be started."""

    system: str
    config: str
    segments: tuple[SegmentPreview, ...]
    guests: tuple[GuestsPreview, ...]
    warnings: tuple[str, ...]

    _TABLES = ("segments", "guests")


def plan_system(plan: SystemPlan, progress: Progress) -> dict[str, PlannedSegment]:
    """Return every segment of `plan` by name. Raises ConfigError with all that `dcss run` would refuse."""
    findings: list[str] = []
    try:
        make_engines(plan, ENGINES)
    except ConfigError as error:
        findings += error.findings
    planned: dict[str, PlannedSegment] = {}
    saved = saved_definitions(plan.name)
    for group in image_groups(plan.segments):
        progress.phase(f"plan {':'.join(segment.name for segment in group)}")
        try:
            planned |= {each.plan.name: each for each in plan_segments(group, saved, plan.name)}
        except ConfigError as error:
            findings += error.findings
    if not findings:
        check_address_layout({each.definition.name: each.definition for each in planned.values()}, plan.guests)
    if findings:
        raise ConfigError(*findings)
    return planned


def preview(plan: SystemPlan, progress: Progress) -> SystemPreview:
    """Return what `plan` would start. Raises ConfigError with all that `dcss run` would refuse before it publishes."""
    planned = plan_system(plan, progress)
    entries = [list(guests) for _, guests in groupby(plan.guests, key=lambda guest: guest.where)]
    shown = tuple(_guests(guests, planned) for guests in entries)
    return SystemPreview(
        plan.name,
        str(plan.path),
        tuple(_segment(each, plan.guests) for each in planned.values()),
        shown,
        (*plan.warnings, *_failing(entries, shown)),
    )


def _failing(entries: Sequence[Sequence[GuestPlan]], shown: Sequence[GuestsPreview]) -> Iterator[str]:
    """Yield a line for each step that would fail its guests."""
    for guests, entry in zip(entries, shown, strict=True):
        for step in entry.steps:
            if step.files == 0:
                yield f"{guests[0].where}: {guests[0].name}: {step.step}: matches no file there: the guest would fail"


def _segment(planned: PlannedSegment, guests: Sequence[GuestPlan]) -> SegmentPreview:
    name, definition, image = planned.plan.name, planned.definition, planned.image
    in_place = tuple(guest.name for guest in guests if _mounted(guest, name, in_place=True))
    copied = tuple(guest.name for guest in guests if _mounted(guest, name, in_place=False))
    return SegmentPreview(
        name=name,
        start=definition.start,
        end=definition.end,
        bytes=definition.size_bytes,
        ranges=tuple(map(str, definition.ranges)),
        content=_content(planned),
        files=None if image is None else image.files,
        file_bytes=None if image is None else image.content_bytes,
        left_out=0 if image is None else image.left_out,
        patterns=() if planned.plan.continues is not None else _patterns(image),
        notes=() if image is None else image.notes,
        in_place=in_place,
        copied=copied,
    )


def _patterns(image: ImagePlan | None) -> tuple[PatternPreview, ...]:
    matched = {} if image is None or image.tree is None else image.tree.matched
    return tuple(PatternPreview(pattern, files) for pattern, files in matched.items())


def _content(planned: PlannedSegment) -> str:
    match planned.plan.image:
        case FilesSource():
            return "files of this machine"
        case DirectorySource(path) | TarSource(path) | Ext2Source(path):
            return str(path)
        case DebianSource(packages=packages):
            return f"packages of Debian: {' '.join(packages)}"
        case _ if planned.plan.continues is not None:
            return f"continues {planned.plan.continues}"
        case _:
            return "saved in the spool" if planned.saved else "zeros"


def _mounted(guest: GuestPlan, segment: str, *, in_place: bool) -> bool:
    """Return True if a mount of the guest's uses the segment in place, or copies it."""
    return any(
        segment in mounted_segments(guest.dcssblk, mount.device) and mount.in_place is in_place
        for mount in guest.mounts
    )


def _guests(guests: Sequence[GuestPlan], planned: Mapping[str, PlannedSegment]) -> GuestsPreview:
    first = guests[0]
    return GuestsPreview(
        names=tuple(guest.name for guest in guests),
        engine=first.engine,
        storage_bytes=first.storage_bytes,
        expect=first.expect,
        segments=first.dcssblk,
        mounts=tuple(_mount_text(mount) for mount in first.mounts),
        after=first.after,
        steps=tuple(_step(step, first, planned) for step in first.run),
    )


def _mount_text(mount: MountPlan) -> str:
    mode = "" if mount.mode is None else f" by {mount.mode}"
    return f"{mount.device} at {mount.at}{mode}" + (f" ({', '.join(mount.options)})" if mount.options else "")


def _step(step: Step, guest: GuestPlan, planned: Mapping[str, PlannedSegment]) -> StepPreview:
    if not isinstance(step.argument, str):
        return StepPreview(f"{step.verb} {shlex.join(step.argument)}", None, None)
    found = matches(step.argument, guest, trees_of(planned))
    text = f"{step.verb} {step.argument}"
    return StepPreview(text, None, None) if found is None else StepPreview(text, found.files, found.size_bytes)
