"""Check guests against the rest of a configuration; each value's own type has been checked before."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations

from dcss.abi.extmem import SEGMENT_SIZE
from dcss.abi.mount import EVERY, EXT2, IN_PLACE, TMPFS
from dcss.config.draft import Draft
from dcss.config.models import GuestModel, MountModel
from dcss.config.names import device_segments, guest_name
from dcss.config.placement import Placement, continued_by, device_names, placements_of
from dcss.config.plan import MAX_GUESTS, MountType
from dcss.config.problems import FieldProblem, Location
from dcss.suggest import did_you_mean

MAX_NAME_CHARACTERS = 8
MAX_SEGMENTS_CHARACTERS = 399  # DCSSBLK_PARM_LEN of drivers/s390/block/dcssblk.c, less the NUL
VERBS = ("map", "read", "load", "exec")
_KNOW_OPTION: Mapping[str, tuple[str, ...]] = {
    "background": ("s390x", "linux"),
    "environment": ("s390x", "linux"),
    "strace": ("s390x",),
}
_LISTED_DEVICES = 8
_OPTIONS_OF: Mapping[MountType, tuple[re.Pattern[str], frozenset[str], str]] = {
    "ext2": (EXT2, IN_PLACE, "ro, xip or noatime"),
    "tmpfs": (TMPFS, frozenset(), "size=16M, mode=755 or noexec"),
}
_AGAINST_MODE: Mapping[str, frozenset[str]] = {
    "xip": frozenset({"dax"}),
    "page-cache": IN_PLACE,
    "ramdisk": IN_PLACE,
    "mtd": frozenset({"dax", "rw"}),
}


def check_guests(draft: Draft, max_guests: int = MAX_GUESTS) -> Iterator[FieldProblem]:
    """Yield what is wrong with the guests."""
    segments = draft.model.segments
    unsound = {segment.name for index, segment in enumerate(segments) if not draft.sound("segments", index, "name")}
    placements = {name: found for name, found in placements_of(segments).items() if name not in unsound}
    # Where one image lies over both, the border between them was checked.
    reported = {(before, segment.name) for segment in segments if (before := continued_by(segment)) is not None}
    for index, guest in enumerate(draft.model.guests):
        at: Location = ("guests", index)
        yield from _devices(draft, at, guest)
        yield from _mounts(draft, at, guest)
        yield from _steps(draft, at, guest)
        used = {name: placements[name] for name in segments_of(guest, draft) if name in placements}
        if draft.sound(*at, "storage"):
            yield from _storage(at, guest, used)
        for lower, upper in combinations(sorted(used, key=used.__getitem__), 2):
            if _share_megabyte(used[lower], used[upper]) and (lower, upper) not in reported:
                reported.add((lower, upper))
                yield _overlap(draft, lower, upper, guest)
    yield from _names(draft, max_guests)
    yield from _order(draft)


def segments_of(guest: GuestModel, draft: Draft) -> list[str]:
    """Return the names of the segments that a guest loads: all of them without `dcssblk:`."""
    if guest.dcssblk is None:
        return [segment.name for segment in draft.model.segments]
    return [name for device in guest.dcssblk for name in device_segments(device)]


def _devices(draft: Draft, at: Location, guest: GuestModel) -> Iterator[FieldProblem]:
    known = [segment.name for segment in draft.model.segments]
    names_known = all(draft.sound("segments", index, "name") for index in range(len(known)))
    taken: set[str] = set()
    for index, device in enumerate(guest.dcssblk or ()):
        for name in device_segments(device):
            if name not in known and names_known:
                wanted = "a segment of this file, such as " + known[0]
                yield FieldProblem((*at, "dcssblk", index), f"'{name}'", wanted, did_you_mean(name, known))
            if name in taken:
                yield FieldProblem((*at, "dcssblk", index), f"'{name}' again", "each segment in one device only")
            taken.add(name)
    if draft.sound(*at, "dcssblk") and draft.sound("segments"):
        devices = device_names(draft.model.segments) if guest.dcssblk is None else guest.dcssblk
        characters = len(",".join(devices))
        if characters > MAX_SEGMENTS_CHARACTERS:
            found = f"{len(devices)} devices, {characters} characters as the driver's segments="
            wanted = f"at most {MAX_SEGMENTS_CHARACTERS}, as Linux takes"
            yield FieldProblem((*at, "dcssblk"), found, wanted, "add others in the guest, by /sys/devices/dcssblk/add")


def _mounts(draft: Draft, at: Location, guest: GuestModel) -> Iterator[FieldProblem]:
    names = [(*at, "disks", index, "name") for index in range(len(guest.disks))]
    disks_known = all(draft.sound(*location) for location in [(*at, "disks"), *names])
    if not (draft.sound(*at, "dcssblk") and draft.sound("segments") and disks_known):
        return
    number = len(device_names(draft.model.segments) if guest.dcssblk is None else guest.dcssblk)
    devices = [f"dcssblk{minor}" for minor in range(number)]
    disks = [disk.name for disk in guest.disks]
    known = devices + disks
    if number > _LISTED_DEVICES:
        devices = [f"{devices[0]} to {devices[-1]}"]
    wanted = "one of " + ", ".join(devices + disks) if known else "no mount, since dcssblk: and disks: are empty"
    for index, mount in enumerate(guest.mounts):
        here = (*at, "mounts", index)
        if not draft.sound(*here, "type"):
            continue
        if mount.type == "tmpfs":
            yield from _without_device(here, mount)
        elif draft.sound(*here, "options") and draft.sound(*here, "mode"):
            yield from _mode(here, mount)
        if draft.sound(*here, "options"):
            yield from _options(here, mount)
        if mount.type == "tmpfs" or not draft.sound(*here, "device"):
            continue
        if mount.device is None:
            yield FieldProblem((*here, "device"), "nothing", "this key")
        elif mount.device not in known:
            mends = did_you_mean(mount.device, known)
            yield FieldProblem((*here, "device"), f"'{mount.device}'", wanted, mends)


def _without_device(here: Location, mount: MountModel) -> Iterator[FieldProblem]:
    """Yield keys that mean nothing where there is no device."""
    for key in ("device", "mode"):
        if key in mount.model_fields_set:
            yield FieldProblem((*here, key), f"{key}: beside type: {mount.type}", "it only beside type: ext2")


def _options(here: Location, mount: MountModel) -> Iterator[FieldProblem]:
    """Yield options that no mount of the type takes: the guest's would fail."""
    pattern, own, examples = _OPTIONS_OF[mount.type]
    for number, option in enumerate(mount.options):
        if option not in EVERY | own and not pattern.fullmatch(option):
            mends = did_you_mean(option, [*own, *EVERY])
            wanted = f"a mount option of {mount.type}, such as {examples}"
            yield FieldProblem((*here, "options", number), f"'{option}'", wanted, mends)


def _mode(here: Location, mount: MountModel) -> Iterator[FieldProblem]:
    """Yield options that contradict `mode:`."""
    against = _AGAINST_MODE.get(mount.mode or "", frozenset())
    for number, option in enumerate(mount.options):
        if option in against:
            yield FieldProblem(
                (*here, "options", number), f"{option} beside mode: {mount.mode}", "options that agree with the mode"
            )


def _steps(draft: Draft, at: Location, guest: GuestModel) -> Iterator[FieldProblem]:
    for index, step in enumerate(guest.run):
        here: Location = (*at, "run", index)
        if not draft.sound(*here):
            continue
        given = [verb for verb in VERBS if verb in step.model_fields_set]
        if len(given) != 1:
            yield FieldProblem(here, " and ".join(given) or "no step", "exactly one of " + ", ".join(VERBS))
            continue
        options = [key for key in _KNOW_OPTION if getattr(step, key)]
        if step.exec is None:
            for key in options:
                yield FieldProblem((*here, key), f"{key}: beside {given[0]}:", "it only beside exec:")
        for key in options if step.exec is not None else ():
            if guest.engine not in _KNOW_OPTION[key]:
                wanted = f"engine: {' or '.join(_KNOW_OPTION[key])}"
                yield FieldProblem((*here, key), f"{key}: in a guest of engine {guest.engine}", wanted)


def _storage(at: Location, guest: GuestModel, used: dict[str, Placement]) -> Iterator[FieldProblem]:
    lowest = min(used, key=used.__getitem__, default=None)
    if lowest is not None and used[lowest].start < guest.storage:
        found = f"storage up to {guest.storage:#x} ({_megabytes(guest.storage)})"
        wanted = f"at most {_megabytes(used[lowest].start)}, where segment {lowest} begins"
        yield FieldProblem((*at, "storage"), found, wanted, "move the segment up or give less storage")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes >> 20}M" if size_bytes % SEGMENT_SIZE == 0 else f"{size_bytes >> 10}K"


def _share_megabyte(lower: Placement, upper: Placement) -> bool:
    """A guest cannot load two segments that share a megabyte (segment_overlaps_others in arch/s390/mm/extmem.c)."""
    return lower.end // SEGMENT_SIZE >= upper.start // SEGMENT_SIZE


def _overlap(draft: Draft, lower: str, upper: str, guest: GuestModel) -> FieldProblem:
    index = [segment.name for segment in draft.model.segments].index(upper)
    segment = draft.model.segments[index]
    found = f"a start in a megabyte that {lower} takes too"
    wanted = f"segments apart by whole megabytes, since guest {guest.name} loads both"
    return FieldProblem(("segments", index, "at" if segment.at is not None else "define"), found, wanted)


def _names(draft: Draft, max_guests: int) -> Iterator[FieldProblem]:
    guests = draft.model.guests
    for index, guest in enumerate(guests):
        last = guest.name if guest.count is None else guest_name(guest.name, guest.count, guest.count)
        if len(last) > MAX_NAME_CHARACTERS:
            found = f"{last}, {len(last)} characters with its number"
            yield FieldProblem(("guests", index, "name"), found, f"at most {MAX_NAME_CHARACTERS}")
        yield from _numbers(("guests", index, "numbers"), guest)
    total = sum(guest_count(guest) for guest in guests)
    if total > max_guests:
        yield FieldProblem(("guests",), f"{total} guests in all", f"at most {max_guests}")
        return
    owner: dict[str, int] = {}
    for index, guest in enumerate(guests):
        if not draft.sound("guests", index, "name"):
            continue
        names = guest_names(guest)
        taken = next((name for name in names if name in owner), None)
        if taken is not None:
            wanted = f"a name of its own (guests[{owner[taken]}] has it)"
            yield FieldProblem(("guests", index, "name"), f"'{taken}' again", wanted)
        owner |= dict.fromkeys(names, index)


def _numbers(at: Location, guest: GuestModel) -> Iterator[FieldProblem]:
    if guest.numbers is None:
        return
    first, last = guest.numbers
    if guest.count is None:
        yield FieldProblem(at, "numbers: without count:", "it only beside count:")
    elif not 1 <= first <= last <= guest.count:
        yield FieldProblem(at, f"{first} to {last}", f"the first and the last of 1 to {guest.count}")


def _order(draft: Draft) -> Iterator[FieldProblem]:
    """Yield what is wrong with `after:`: names that no guest has, and circles, in which no guest could start."""
    guests = draft.model.guests
    entries = {guest.name: index for index, guest in enumerate(guests) if draft.sound("guests", index, "name")}
    for index, guest in enumerate(guests):
        for place, name in enumerate(guest.after):
            if name not in entries and draft.sound("guests", index, "after", place):
                hint = did_you_mean(name, list(entries))
                yield FieldProblem(
                    ("guests", index, "after", place), f"'{name}'", "the name of a guest of this file", hint
                )
    reported: set[str] = set()
    for name, index in entries.items():
        circle = _circle(draft, entries, name)
        if circle and not reported & set(circle):
            reported.update(circle)
            found = " after ".join([*circle, circle[0]])
            yield FieldProblem(("guests", index, "after"), found, "guests that can start, one after the other")


def _circle(draft: Draft, entries: dict[str, int], name: str) -> list[str]:
    """Return a circle of entries that begins with `name`, or an empty list."""
    trails = [[name]]
    seen = set()
    while trails:
        trail = trails.pop()
        for other in draft.model.guests[entries[trail[-1]]].after:
            if other == name:
                return trail
            if other in entries and other not in seen:
                seen.add(other)
                trails.append([*trail, other])
    return []


def guest_names(guest: GuestModel) -> list[str]:
    """Return the names of the guests that an entry stands for."""
    if guest.count is None:
        return [guest.name]
    first, last = guest.numbers or (1, guest.count)
    return [guest_name(guest.name, number, guest.count) for number in range(first, last + 1)]


def guest_count(guest: GuestModel) -> int:
    """Return how many guests an entry stands for."""
    first, last = guest.numbers or (1, guest.count or 1)
    return last - first + 1
