"""Guests beside bare forks of the same server: time until all are ready, CPU, memory of each, and their end."""

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.framework.kernel_books import KIB, MIB, memory_of, tree_of
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, compare
from benchmarks.framework.served import Served
from benchmarks.framework.session import Session
from dcss.account.cpu import cpu_seconds

Found = dict[str | tuple[str, str], float]
BARE = "bare forks"
HUGE = ", huge pages"


def run(session: Session) -> list[Row]:
    """Measure a hundred guests that share 100 MiB, beside as many bare forks."""
    guests = session.pick(quick=40, full=100)
    specs = specs_for(guests)
    with session.directory("start") as directory:
        image = library_image(session, directory, session.pick(quick=48, full=100) * MIB)
        order: dict[str, object] = {"count": guests, "work": "map", "path": str(image.path)}
        small, huge = (
            config_of(session, f"start-{session.name}", image.path, guests, huge=huge) for huge in (False, True)
        )

        def ours() -> Sample:
            return {**measure_system(session, str(small)), **with_suffix(measure_system(session, str(huge)))}

        def bare() -> Sample:
            # In this order: once the file has huge pages, it keeps them until another file is made of it.
            small = measure_bare(session, order)
            huge = measure_bare(session, order | {"huge": True})
            _give_small_pages(image.path)
            return {**small, **with_suffix(huge)}

        return compare("start", specs, {"dcss": ours, BARE: bare}, rounds=session.pick(quick=3, full=7))


def with_suffix(sample: Found) -> Found:
    """Return what huge pages change, under the names of its rows."""
    return {f"{name}{HUGE}": sample[name] for name in ("ready", "CPU of a guest", "page tables")}


def _give_small_pages(path: Path) -> None:
    """Replace a file by a copy, whose pages are small again."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def specs_for(guests: int) -> list[RowSpec]:
    """Return the rows, named for so many guests."""
    ready = f"from the first fork to the last of {guests} guests ready, its files mapped and every page present"
    left_out = "publication, and the start of interpreters and of the fork server"
    own_cpu, tables = (
        "CPU of one guest's process until it is ready",
        "VmPTE of one idle guest that has mapped every file",
    )
    huge = "with huge pages on both sides where the machine has them"
    return [
        RowSpec("ready", "s", "time", f"{ready}, in pages of 4 KiB", left_out, wanted_ratio=(BARE, 1.6)),
        RowSpec(f"ready{HUGE}", "s", "time", f"the same {huge}", left_out, wanted_ratio=(BARE, 1.6)),
        RowSpec(
            "command to ready",
            "s",
            "time",
            f"from the command to the last of {guests} guests ready: interpreter, imports, publication, guests",
        ),
        RowSpec("CPU of a guest", "ms", "cpu", f"{own_cpu}, in pages of 4 KiB", "CP and servers"),
        RowSpec(f"CPU of a guest{HUGE}", "ms", "cpu", f"the same {huge}", "CP and servers"),
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
        RowSpec("page tables", "KiB", "memory", f"{tables}, in pages of 4 KiB"),
        RowSpec(f"page tables{HUGE}", "KiB", "memory", f"the same {huge}"),
        RowSpec("stop", "s", "time", f"from the order to take {guests} guests down to the end of all"),
    ]


def measure_system(session: Session, config: str) -> Found:
    """Start a system, read what its guests cost, and take it down."""
    with session.served("system", config) as served:
        return measure_served(served)


def measure_bare(session: Session, order: dict[str, object]) -> Found:
    """Do the same with bare forks."""
    with session.bare(order) as served:
        return measure_served(served)


def measure_served(served: Served) -> Found:
    """Read what ready guests cost, and stop them."""
    pids = served.ready["pids"]
    servers = set(tree_of(served.pid)) - set(pids)

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
