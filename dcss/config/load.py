"""Load a YAML file: return its SystemPlan, or raise one ConfigError with every problem of the file."""

import os
import re
from dataclasses import replace
from pathlib import Path

from dcss.config.check_continued import check_continued, devices_in_part
from dcss.config.check_disks import check_disks, shared_disks
from dcss.config.check_guests import check_guests, guest_names, segments_of
from dcss.config.check_segments import check_segments
from dcss.config.document import Document, read_document
from dcss.config.draft import Draft, draft
from dcss.config.load_segments import absolute, segment_plans
from dcss.config.models import (
    ClonedGuestModel,
    GuestModel,
    KernelModel,
    LinuxGuestModel,
    ProcessGuestModel,
    S390xGuestModel,
    StepModel,
)
from dcss.config.placement import device_names
from dcss.config.plan import (
    DEVICE_BYTES,
    Boot,
    DiskPlan,
    EngineSettings,
    GuestPlan,
    LinuxSettings,
    MountPlan,
    ProcessSettings,
    S390xSettings,
    Step,
    SystemPlan,
)
from dcss.config.problems import FieldProblem, Place, field_name, nearest_line
from dcss.config.sources import DebianKernel, KernelFile, KernelSource
from dcss.config.values import SYSTEM_NAME
from dcss.errors import ConfigError


def load_plan(path: Path) -> SystemPlan:
    """Return the plan of a YAML file: checked, defaults filled in, paths absolute (relative to the file).

    Raises ConfigError with a line for each problem: ``FILE:LINE: FIELD: found X, wanted Y (what mends it)``.
    """
    return plan_of(read_document(path), path)


def plan_of(document: Document, path: Path, name: str | None = None) -> SystemPlan:
    """Return the plan of the document that the file `path` holds; its system is called `name`, if that is given.

    Raises ConfigError as `load_plan` does.
    """
    # abspath, not resolve: relative paths in a file reached through a link begin where the link is.
    directory = Path(os.path.abspath(path)).parent  # noqa: PTH100
    drafted, problems = draft(document)
    if drafted is not None:
        problems += check_segments(drafted, directory)
        problems += check_continued(drafted)
        problems += check_guests(drafted)
        problems += check_disks(drafted, directory)
        if name is None:
            problems += _check_system_name(drafted, path)
        elif re.fullmatch(SYSTEM_NAME, name) is None:
            problems.append(FieldProblem(("system",), repr(name), f"a name that matches {SYSTEM_NAME}"))
    if problems or drafted is None:
        raise ConfigError(*findings(document, problems))
    plan = _plan(document, drafted, directory, path)
    return plan if name is None else replace(plan, name=name)


def findings(document: Document, problems: list[FieldProblem]) -> list[str]:
    """Return one line per problem, in the order of the file."""
    lines = [problem.line or document.line(problem.location) for problem in problems]
    ordered = sorted(range(len(problems)), key=lines.__getitem__)
    return [str(problems[index].at(document.file, lines[index])) for index in ordered]


def _plan(document: Document, drafted: Draft, directory: Path, path: Path) -> SystemPlan:
    model = drafted.model
    guests = tuple(
        plan
        for index, guest in enumerate(model.guests)
        for plan in _guests(guest, drafted, directory, document.place("guests", index))
    )
    devices = {device for guest in guests if guest.has_devices for device in guest.dcssblk}
    return SystemPlan(
        name=model.system or path.stem,
        segments=tuple(
            replace(plan, multiple_bytes=DEVICE_BYTES) if plan.name in devices else plan
            for plan in segment_plans(model.segments, directory, document)
        ),
        guests=guests,
        path=directory / path.name,
        warnings=tuple(_warnings(document, drafted, directory)),
    )


def _where(document: Document, *location: str | int) -> str:
    return f"{document.file}:{document.line(location)}"


def _check_system_name(drafted: Draft, path: Path) -> list[FieldProblem]:
    if drafted.model.system is not None or not drafted.sound("system") or re.fullmatch(SYSTEM_NAME, path.stem):
        return []
    return [FieldProblem(("system",), "nothing", "a name, since the file's own cannot serve as one", "system: demo")]


def _warnings(document: Document, drafted: Draft, directory: Path) -> list[str]:
    used = {name for guest in drafted.model.guests for name in segments_of(guest, drafted)}
    unset = [
        f"{_where(document, *location)}: {field_name(location)}: the environment variable {name} is not set and has no"
        f" default: nothing stands in its place (write ${{{name}:-default}} to give one)"
        for location, name in document.unset
    ]
    disks = [
        f"{_where(document, *found.location)}: {field_name(found.location)}: {found.found} ({found.mends})"
        for found in (*shared_disks(drafted, directory), *devices_in_part(drafted))
    ]
    return (
        unset
        + disks
        + [
            f"{_where(document, 'segments', index)}: segment {segment.name} is loaded by no guest"
            for index, segment in enumerate(drafted.model.segments)
            if segment.name not in used
        ]
    )


def _guests(guest: GuestModel, drafted: Draft, directory: Path, place: Place) -> list[GuestPlan]:
    """Return the guests of one entry; they share what they have in common."""
    dcssblk = guest.dcssblk
    if dcssblk is None:
        dcssblk = device_names(drafted.model.segments)
    devices = tuple(dcssblk)
    settings = _settings(guest, directory)
    mounts = tuple(
        MountPlan(mount.device or mount.type, mount.at, tuple(mount.options), mount.mode, mount.type)
        for mount in guest.mounts
    )
    disks = tuple(
        DiskPlan(disk.name, absolute(directory, disk.file), disk.writable, place.field("disks", number, "file"))
        for number, disk in enumerate(guest.disks)
    )
    where = f"{place.file}:{nearest_line(place.lines, place.location)}"
    steps = tuple(_step(step) for step in guest.run)
    after = tuple(name for other in drafted.model.guests if other.name in guest.after for name in guest_names(other))
    return [
        GuestPlan(
            name=name,
            settings=settings,
            storage_bytes=guest.storage,
            dcssblk=devices,
            mounts=mounts,
            expect=guest.expect,
            run=steps,
            where=where,
            after=after,
            restart=guest.restart,
            namesave=tuple(guest.namesave),
            privilege=guest.privilege,
            disks=disks,
        )
        for name in guest_names(guest)
    ]


def _settings(guest: GuestModel, directory: Path) -> EngineSettings:
    match guest:
        case S390xGuestModel():
            return S390xSettings(_boot(guest), guest.time_limit)
        case LinuxGuestModel():
            return LinuxSettings(
                _kernel(guest.kernel, directory), guest.arch, guest.cpus, guest.append, guest.time_limit
            )
        case ProcessGuestModel():
            return ProcessSettings(_boot(guest))
        case _:
            raise AssertionError(f"a guest of engine {guest.engine}")


def _kernel(kernel: KernelModel | None, directory: Path) -> KernelSource:
    if kernel is not None and kernel.file is not None:
        return KernelFile(absolute(directory, kernel.file))
    debian = None if kernel is None else kernel.debian
    return DebianKernel() if debian is None else DebianKernel(debian.suite, debian.package)


def _boot(guest: ClonedGuestModel) -> Boot:
    """Return how the guests of an entry start: one alone has none to be cloned from."""
    return guest.boot if len(guest_names(guest)) > 1 else "full"


def _step(step: StepModel) -> Step:
    if step.exec is not None:
        return Step("exec", tuple(step.exec), step.background, tuple(step.environment.items()), step.strace)
    if step.load is not None:
        return Step("load", step.load)
    return Step("map", step.map) if step.map is not None else Step("read", step.read or "")
