"""Load the YAML of a fleet: a system's, with `hosts:` and `placement:`; guests may be more than a system takes."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dcss.abi.extmem import SegmentType
from dcss.config.check_continued import check_continued
from dcss.config.check_disks import check_disks
from dcss.config.check_guests import check_guests, guest_count, segments_of
from dcss.config.check_segments import check_segments
from dcss.config.document import read_document
from dcss.config.draft import Draft, draft
from dcss.config.fleet_plan import FleetPlan, GuestEntry, HostPlan
from dcss.config.load import findings
from dcss.config.load_segments import segment_plans
from dcss.config.models import FleetModel, GuestModel, HostModel
from dcss.config.names import guest_name, mounted_segments
from dcss.config.placement import device_names, end_types_of
from dcss.config.problems import FieldProblem
from dcss.config.values import SYSTEM_NAME
from dcss.errors import ConfigError

MAX_FLEET_GUESTS = 100_000_000
MAX_HOSTS = 1_000_000
# What one guest writes there, others read: in one machine's memory only.
_WRITTEN_TOGETHER = frozenset({SegmentType.SW, SegmentType.SN, SegmentType.EW, SegmentType.EN})


def load_fleet(path: Path) -> FleetPlan:
    """Return the fleet of a YAML file. Raises ConfigError with a line for each problem."""
    document = read_document(path)
    directory = Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow links
    drafted, problems = draft(document, FleetModel)
    if drafted is not None:
        problems += check_segments(drafted, directory)
        problems += check_continued(drafted)
        problems += check_guests(drafted, MAX_FLEET_GUESTS)
        problems += check_disks(drafted, directory)
        problems += _check_fleet(drafted, path)
    if problems or drafted is None:
        raise ConfigError(*findings(document, problems))
    model = drafted.model
    assert isinstance(model, FleetModel)
    return FleetPlan(
        name=model.system or path.stem,
        path=directory / path.name,
        segments=tuple(segment_plans(model.segments, directory, document)),
        entries=tuple(_entry(number, guest, drafted) for number, guest in enumerate(model.guests)),
        hosts=tuple(_hosts(model.hosts)) or None,
        placement=model.placement,
        bound=tuple(_bound(drafted)),
        document=document,
    )


def _check_fleet(drafted: Draft, path: Path) -> Iterator[FieldProblem]:
    model = drafted.model
    assert isinstance(model, FleetModel)
    if model.system is None and drafted.sound("system") and re.fullmatch(SYSTEM_NAME, path.stem) is None:
        yield FieldProblem(("system",), "nothing", "a name, since the file's own cannot serve as one", "system: demo")
    for index, guest in enumerate(model.guests):
        if guest.numbers is not None:
            yield FieldProblem(("guests", index, "numbers"), "numbers:", "none: a fleet deals the guests out itself")
    if not model.guests and drafted.sound("guests"):
        yield FieldProblem(("guests",), "no guest", "at least one, to place it on a host")
    if not drafted.sound("hosts"):
        return
    total = sum(host.count or 1 for host in model.hosts)
    if total > MAX_HOSTS:
        yield FieldProblem(("hosts",), f"{total} hosts in all", f"at most {MAX_HOSTS}")
        return
    owner: dict[str, int] = {}
    for index, host in enumerate(model.hosts):
        for name in _names(host):
            if name in owner:
                wanted = f"a name of its own (hosts[{owner[name]}] has it)"
                yield FieldProblem(("hosts", index, "name"), f"'{name}' again", wanted)
                break
            owner[name] = index


def _names(host: HostModel) -> list[str]:
    if host.count is None:
        return [host.name]
    return [guest_name(host.name, number, host.count) for number in range(1, host.count + 1)]


def _hosts(hosts: Sequence[HostModel]) -> Iterator[HostPlan]:
    for host in hosts:
        for name in _names(host):
            yield HostPlan(name, host.memory, host.guests)


def _entry(number: int, guest: GuestModel, drafted: Draft) -> GuestEntry:
    devices = device_names(drafted.model.segments) if guest.dcssblk is None else guest.dcssblk
    copied: dict[str, None] = {}
    for mount in guest.mounts:
        in_place = {"xip", "dax"} & set(mount.options) or mount.mode in {"xip", "mtd"}
        if not in_place:
            copied |= dict.fromkeys(mounted_segments(devices, mount.device or ""))
    return GuestEntry(
        number,
        guest.name,
        guest.count,
        guest.engine,
        guest.storage,
        tuple(dict.fromkeys(segments_of(guest, drafted))),
        tuple(copied),
    )


def _bound(drafted: Draft) -> Iterator[frozenset[int]]:
    """Yield the entries that belong to one host: some wait for others, or write what others read."""
    guests = drafted.model.guests
    types = end_types_of(drafted.model.segments)
    numbers = {guest.name: number for number, guest in enumerate(guests)}
    sets = [{number, *(numbers[name] for name in guest.after)} for number, guest in enumerate(guests) if guest.after]
    for segment, ends in types.items():
        if not _WRITTEN_TOGETHER.isdisjoint(ends):
            users = {number for number, guest in enumerate(guests) if segment in segments_of(guest, drafted)}
            sets += [users] if users else []
    joined: list[set[int]] = []
    for each in sets:
        touching = [other for other in joined if other & each]
        joined = [other for other in joined if not other & each] + [each.union(*touching)]
    yield from (frozenset(each) for each in joined if len(each) > 1 or guest_count(guests[next(iter(each))]) > 1)
