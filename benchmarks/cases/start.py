"""Guests beside bare forks of the same server: time until all are ready, CPU, memory of each, and their end."""

import statistics
from collections.abc import Callable

from benchmarks.framework.kernel_books import KIB, MIB, cpu_seconds, memory_of
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, compare
from benchmarks.framework.served import Served
from benchmarks.framework.session import Session

BARE = "bare forks"


def run(session: Session) -> list[Row]:
    """Measure a hundred guests that share 100 MiB, beside as many bare forks."""
    guests = session.pick(quick=40, full=100)
    specs = specs_for(guests)
    with session.directory("start") as directory:
        image = library_image(session, directory, session.pick(quick=48, full=100) * MIB)
        config = config_of(session, f"start-{session.name}", image.path, guests)
        subjects = {
            "dcss": lambda: measure_system(session, str(config)),
            BARE: lambda: measure_bare(session, {"count": guests, "work": "map", "path": str(image.path)}),
        }
        return compare("start", specs, subjects, rounds=session.pick(quick=3, full=7))


def specs_for(guests: int) -> list[RowSpec]:
    """Return the rows, named for so many guests."""
    return [
        RowSpec(
            "ready",
            "s",
            "time",
            f"from the first fork to the last of {guests} guests ready, its files mapped and every page present",
            "publication, and the start of interpreters and of the fork server",
            wanted_ratio=(BARE, 1.6),
        ),
        RowSpec(
            "command to ready",
            "s",
            "time",
            f"from the command to the last of {guests} guests ready: interpreter, imports, publication, guests",
        ),
        RowSpec("CPU of a guest", "ms", "cpu", "CPU of one guest's process until it is ready", "CP and fork server"),
        RowSpec(
            "CPU of servers",
            "ms",
            "cpu",
            f"CPU of all other processes until {guests} guests are ready, interpreters and publication included",
        ),
        RowSpec(
            "private memory",
            "KiB",
            "memory",
            "private pages of one idle guest that has mapped every file (USS of smaps_rollup), median of all guests",
            "page tables and other kernel memory",
            wanted_ratio=(BARE, 1.25),
        ),
        RowSpec("page tables", "KiB", "memory", "VmPTE of one idle guest that has mapped every file, median of all"),
        RowSpec("stop", "s", "time", f"from the order to take {guests} guests down to the end of all", "the segment's"),
    ]


def measure_system(session: Session, config: str) -> Sample:
    """Start a system, read what its guests cost, and take it down."""
    with session.served("system", config) as served:
        return measure_served(served)


def measure_bare(session: Session, order: dict[str, object]) -> Sample:
    """Do the same with bare forks."""
    with session.bare(order) as served:
        return measure_served(served)


def measure_served(served: Served) -> Sample:
    """Read what ready guests cost, and stop them."""
    pids = served.ready["pids"]
    servers = [served.pid, *served.ready.get("engines", [])]

    def middle(figure: Callable[[int], float]) -> float:
        return statistics.median(map(figure, pids))

    return {
        "ready": served.ready["ready"],
        "command to ready": served.command_seconds,
        "CPU of a guest": middle(cpu_seconds) * 1e3,
        "CPU of servers": sum(map(cpu_seconds, servers)) * 1e3,
        "private memory": middle(lambda pid: memory_of(pid).private_bytes) / KIB,
        "page tables": middle(lambda pid: memory_of(pid).page_table_bytes) / KIB,
        "stop": served.stop()["stop"],
    }
