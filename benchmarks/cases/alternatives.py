"""The same libraries for several guests by every way there is: one segment, copies, KSM, a loop mount for each.

Memory is the sum of what the kernel charges the processes of each subject, in the same way for all: proportional set
sizes, so that a frame counts once however many share it, and page tables.
"""

from functools import partial
from pathlib import Path

from benchmarks.framework import ksm
from benchmarks.framework.kernel_books import MIB, PAGE_BYTES, total_memory, tree_of
from benchmarks.framework.libraries import LibraryImage, config_of, library_image
from benchmarks.framework.loop_mounts import mounts_command
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.served import Served
from benchmarks.framework.session import Session
from dcss.account.cpu import cpu_seconds

MERGED_SHARE = 0.99
MOST_SECONDS = 300
READY, LOWEST, CPU, MEMORY = "command to ready", "command to lowest memory", "CPU", "memory"


def run(session: Session) -> list[Row]:
    """Measure a few guests by each way."""
    guests = session.pick(quick=4, full=8)
    with session.directory("alternatives") as directory:
        image = library_image(session, directory, session.pick(quick=32, full=100) * MIB)
        config = config_of(session, f"ways-{session.name}", image.path, guests)
        copies = {"count": guests, "work": "copy", "path": str(image.path)}
        subjects = {
            "dcss": partial(_system, session, str(config)),
            "bare forks": partial(_forks, session, copies | {"work": "map"}),
            "private copies": partial(_forks, session, copies),
            "KSM, fast": partial(_merged, session, copies | {"work": "merge"}, image, ksm.FAST),
            "KSM, defaults": partial(_merged, session, copies | {"work": "merge"}, image, ksm.DEFAULTS),
            "loop mounts": partial(_loop_mounts, session, directory, image, guests),
        }
        rounds = session.pick(quick=3, full=5)
        specs = _specs(guests, image)
        return compare("alternatives", specs, subjects, rounds=rounds, once={"KSM, defaults"})


def _specs(guests: int, image: LibraryImage) -> list[RowSpec]:
    size = f"{guests} guests with {image.mapped_bytes // MIB} MiB of libraries each"
    return [
        RowSpec(
            MEMORY,
            "MiB",
            "memory",
            f"all memory of {size}: proportional set sizes and page tables of guests, servers and CP; with KSM after "
            f"{MERGED_SHARE:.0%} of the pages were merged",
            "slab and stacks of the kernel (KSM's note of each page is in it); the file behind loop mounts and copies",
        ),
        RowSpec(
            READY,
            "s",
            "time",
            f"from the command to all ready, {size}: interpreters, publication, mounts or copies, every page present",
        ),
        RowSpec(LOWEST, "s", "time", "the same, and with KSM until 99 % of the pages were merged"),
        RowSpec(CPU, "s", "cpu", "CPU of all processes until then, ksmd included", "CPU of `losetup` and `mount`"),
    ]


def _sample(served: Served, more_cpu_seconds: float = 0.0, merging_seconds: float = 0.0) -> Sample:
    pids = tree_of(served.pid)
    memory = total_memory(pids)
    return {
        MEMORY: (memory.proportional_bytes + memory.page_table_bytes) / MIB,
        READY: served.command_seconds,
        LOWEST: served.command_seconds + merging_seconds,
        CPU: sum(map(cpu_seconds, pids)) + more_cpu_seconds,
    }


def _system(session: Session, config: str) -> Sample:
    with session.served("system", config) as served:
        return _sample(served)


def _forks(session: Session, order: dict[str, object]) -> Sample:
    with session.bare(order) as served:
        return _sample(served)


def _merged(session: Session, order: dict[str, object], image: LibraryImage, pace: ksm.Pace) -> Sample:
    if session.quick and pace is ksm.DEFAULTS:
        raise Unavailable("takes minutes, so it is measured in the full mode only")
    with ksm.merging(pace):
        cpu_before = ksm.ksmd_cpu_seconds()
        with session.bare(order) as served:
            pids = served.ready["pids"]
            pages = len(pids) * -(-image.path.stat().st_size // PAGE_BYTES)
            seconds = ksm.wait_until_merged(pids, pages, MERGED_SHARE, MOST_SECONDS)
            sample = _sample(served, ksm.ksmd_cpu_seconds() - cpu_before, seconds)
            return {**sample, MEMORY: sample[MEMORY] + ksm.bookkeeping_bytes(pids) / MIB}


def _loop_mounts(session: Session, directory: Path, image: LibraryImage, guests: int) -> Sample:
    order = {"count": guests, "work": "files", "path": str(directory / "mounts")}
    with session.bare(order, mounts_command(image.path, directory / "mounts", guests)) as served:
        return _sample(served)
