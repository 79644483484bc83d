"""What guests, segments and a host's CP cost: from a measurement, or by estimates, which are called that."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from dcss.config.fleet_plan import FleetPlan, GuestEntry
from dcss.config.plan import EngineName, SegmentPlan, image_groups
from dcss.config.sources import DirectorySource, Ext2Source
from dcss.errors import ConfigError

# Measured of this program: CP with numpy for its proofs, the fork server and a template.
HOST_BYTES: Final = 53 << 20
_S390X_FACTOR: Final = 4  # Unicorn's translation buffers and the program's own memory, beside the guest's kernel
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class EntryCost:
    """Private memory of the first guest of an entry on a host, and of each further one."""

    first_bytes: int
    next_bytes: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What is placed: by entry and by segment, and what a host costs beside them. `estimates` are lines for people."""

    entries: tuple[EntryCost, ...]
    segments: Mapping[str, int]
    host_bytes: int
    estimates: tuple[str, ...] = field(default=())


def costs_of(plan: FleetPlan, measured: Path | None) -> Costs:
    """Return the costs, by the document of `dcss measure` or `dcss run` in the file `measured` where it has them.

    Raises ConfigError where the file has no such document, or a segment's size is known from nowhere.
    """
    found = _Measured() if measured is None else _read(measured)
    estimates: list[str] = []
    segments = _segment_bytes(plan.segments, found, estimates)
    entries = tuple(_entry_cost(entry, found, segments, estimates) for entry in plan.entries)
    host_bytes = found.host_bytes
    if host_bytes is None:
        host_bytes = HOST_BYTES
        estimates.append(f"CP and fork server: {HOST_BYTES // _MIB} MiB on each host, as measured of this version")
    return Costs(entries, segments, host_bytes, tuple(estimates))


@dataclass(frozen=True, slots=True)
class _Measured:
    guests: Mapping[str, int] = field(default_factory=dict)  # private bytes by a guest's name
    segments: Mapping[str, int] = field(default_factory=dict)
    host_bytes: int | None = None


def _read(path: Path) -> _Measured:
    wanted = "a document of dcss measure --json or dcss run --json"
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--measured: {path}: found {error.strerror}, wanted {wanted}") from error
    except ValueError as error:
        raise ConfigError(f"--measured: {path}: found no JSON ({error}), wanted {wanted}") from error
    try:
        return _of_document(document.get("measure", document))
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"--measured: {path}: found another document, wanted {wanted}") from error


def _of_document(document: Mapping[str, Any]) -> _Measured:
    guests = {each["name"]: each["host"]["uss_bytes"] for each in document["guests"]}
    others = [each["host"]["uss_bytes"] for each in document.get("others", ())]
    return _Measured(
        {name: size for name, size in guests.items() if size is not None},
        {each["name"]: each["resident_bytes"] for each in document["segments"]},
        sum(others) if others and None not in others else None,
    )


def _entry_cost(entry: GuestEntry, found: _Measured, segments: Mapping[str, int], estimates: list[str]) -> EntryCost:
    sizes = [size for name, size in found.guests.items() if _is_of(name, entry)]
    if sizes:
        rest = sorted(sizes)[:-1] or sizes  # the largest is the one that booted, and was cloned
        return EntryCost(max(sizes), round(median(rest)))
    copied_bytes = min(entry.storage_bytes, sum(segments[name] for name in entry.copied_segments))
    cost = _estimate(entry.engine, entry.storage_bytes, copied_bytes)
    copies = f", {copied_bytes / _MIB:.1f} MiB of it copies" if copied_bytes else ""
    estimates.append(
        f"{entry.name}: {cost.next_bytes / _MIB:.1f} MiB private each{copies}, by the engine's usual figures: no"
        " measurement has such a guest"
    )
    return cost


def _is_of(name: str, entry: GuestEntry) -> bool:
    if entry.count is None:
        return name == entry.name
    return name.startswith(entry.name) and name[len(entry.name) :].isdigit()


def _estimate(engine: EngineName, storage_bytes: int, copied_bytes: int) -> EntryCost:
    from dcss.plan.forecast import CLONE_BYTES, FIRST_BYTES  # a fleet that is up needs no estimates

    match engine:
        case "process":
            return EntryCost(FIRST_BYTES + copied_bytes, CLONE_BYTES + copied_bytes)
        case "s390x":
            return EntryCost(_S390X_FACTOR * FIRST_BYTES + copied_bytes, _S390X_FACTOR * CLONE_BYTES + copied_bytes)
        case "linux":  # a kernel touches all its storage sooner or later
            return EntryCost(storage_bytes, storage_bytes)


def _segment_bytes(segments: Sequence[SegmentPlan], found: _Measured, estimates: list[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    problems: list[str] = []
    for group in image_groups(segments):
        unknown = [segment for segment in group if segment.name not in found.segments]
        sizes |= {segment.name: found.segments[segment.name] for segment in group if segment not in unknown}
        for segment in unknown:
            if segment.size_bytes is not None:
                sizes[segment.name] = segment.size_bytes
                continue
            size_bytes = _content_bytes(segment)
            if size_bytes is None:
                place = segment.place.field("size") if segment.place else segment.where
                problems.append(
                    f"{place}: found no size of segment {segment.name}, wanted size: or a measurement that has it"
                    " (--measured RUN.json)"
                )
            else:
                sizes[segment.name] = size_bytes
                estimates.append(f"segment {segment.name}: {size_bytes / _MIB:.1f} MiB, from the size of its content")
    if problems:
        raise ConfigError(*problems)
    return sizes


def _content_bytes(segment: SegmentPlan) -> int | None:
    """Return about how large a segment becomes whose image is on this machine; None where that is not seen at once."""
    match segment.image:
        case Ext2Source(path, offset):
            return path.stat().st_size - offset
        case DirectorySource(path):
            files = [each.lstat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
            return sum(-(-size // 4096) * 4096 for size in files) + (len(files) + 256) * 256
        case _:
            return None
