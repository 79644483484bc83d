"""What a system's own processes cost beside its guests: CP, the fork server and templates."""

from collections.abc import Iterable

from dcss.account.proc import ProcessGoneError, read_proc
from dcss.account.smaps import read_rollup, read_smaps, read_status
from dcss.account.targets import SystemTarget
from dcss.errors import MeasurementDeniedError
from dcss.results import HostCosts, ProcessCosts

_FIELDS = frozenset({b"Rss", b"Pss", b"Private_Clean", b"Private_Dirty"})
_PREFIX = b"dcss:"  # of the names that our processes give themselves


def own_processes(system: SystemTarget) -> tuple[ProcessCosts, ...]:
    """Return a row for CP, or what is in its place, and one for all other processes of a name, unless they have ended.

    Of CP's memory the segments are left out: it maps every page of them, and they stand in rows of their own.
    """
    segments = frozenset(segment.address for segment in system.segments)
    found: dict[str, list[tuple[int, HostCosts]]] = {}
    for pid in (system.cp_pid, *system.other_pids):
        try:
            name = system.terms.owner if pid == system.cp_pid else _name_of(pid)
            costs = _costs(pid, segments if pid == system.cp_pid else frozenset())
        except ProcessGoneError:
            continue
        found.setdefault(name, []).append((pid, costs))
    return tuple(
        ProcessCosts(name, tuple(pid for pid, _ in each), _added(costs for _, costs in each))
        for name, each in found.items()
    )


def _name_of(pid: int) -> str:
    """Return the name that a process gave itself, without what ours have in common."""
    return read_proc(pid, "comm").strip().removeprefix(_PREFIX).decode(errors="replace")


def _costs(pid: int, without: frozenset[int]) -> HostCosts:
    """Return what a process costs but for its mappings that begin at the addresses `without`."""
    try:
        fields = read_rollup(pid, _FIELDS)
        left_out = [each.fields_bytes for each in read_smaps(pid) if each.vma.start in without] if without else []
        page_table_bytes = read_status(pid, frozenset({b"VmPTE"})).get("VmPTE", 0)
    except MeasurementDeniedError:
        return HostCosts(None, None, None, None)
    # The two are not read at one instant.
    rss_bytes, pss_bytes, clean_bytes, dirty_bytes = (
        max(0, fields.get(name, 0) - sum(each.get(name, 0) for each in left_out))
        for name in ("Rss", "Pss", "Private_Clean", "Private_Dirty")
    )
    return HostCosts(rss_bytes, pss_bytes, clean_bytes + dirty_bytes, page_table_bytes)


def _added(costs: Iterable[HostCosts]) -> HostCosts:
    """Return the sum; unknown plus anything is unknown."""
    columns = zip(
        *((each.rss_bytes, each.pss_bytes, each.uss_bytes, each.page_table_bytes) for each in costs), strict=True
    )
    return HostCosts(*(None if None in column else sum(size or 0 for size in column) for column in columns))
