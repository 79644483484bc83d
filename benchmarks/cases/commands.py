"""What commands leave in a guest: its private memory when idle, and after `ls -l`, `cat` and `sha256sum` in it."""

import statistics

from benchmarks.cases.start import BARE
from benchmarks.framework.kernel_books import KIB, MIB, memory_of
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, compare
from benchmarks.framework.session import Session

MOST_KIB = 2.2 * 1024
COMMANDS = ("ls -l", "cat", "sha256sum")


def run(session: Session) -> list[Row]:
    """Measure a few guests before and after commands, beside bare forks."""
    guests = session.pick(quick=3, full=8)
    names = ["idle", *(f"after {', '.join(COMMANDS[: number + 1])}" for number in range(len(COMMANDS)))]
    specs = [
        RowSpec(
            name,
            "KiB",
            "memory",
            f"private pages of one guest (USS of smaps_rollup), median of {guests}; {_done(number)}",
            "page tables and other kernel memory",
            wanted_ratio=(BARE, 1.25) if number == 0 else None,
            wanted_most=None if number == 0 else MOST_KIB,
        )
        for number, name in enumerate(names)
    ]
    with session.directory("commands") as directory:
        image = library_image(session, directory, session.pick(quick=48, full=100) * MIB)
        largest = max((image.tree / "usr/lib").iterdir(), key=lambda path: path.stat().st_size).name
        system = f"commands-{session.name}"
        config = config_of(session, system, image.path, guests)

        def ours() -> Sample:
            with session.served("system", str(config)) as served:
                return _after_commands(session, system, served.ready["pids"], f"/usr/lib/{largest}", names)

        def bare() -> Sample:
            order = {"count": guests, "work": "map", "path": str(image.path)}
            with session.bare(order) as served:
                return dict.fromkeys(names, _private_kib(served.ready["pids"]))

        return compare("commands", specs, {"dcss": ours, BARE: bare}, rounds=session.pick(quick=1, full=5))


def _done(number: int) -> str:
    if not number:
        return "it has mapped every file, and ran nothing"
    return f"it has run these on the segment by `dcss exec`, `{'`, `'.join(COMMANDS[:number])}`; forks ran nothing"


def _after_commands(session: Session, system: str, pids: list[int], path: str, names: list[str]) -> Sample:
    found = [_private_kib(pids)]
    for command in (("ls", "-l", "/usr/lib"), ("cat", path), ("sha256sum", path)):
        for number in range(1, len(pids) + 1):
            name = f"L{number:02}"
            session.dcss("exec", "--system", system, name, "--", *command, discard=True)
        found.append(_private_kib(pids))
    return dict(zip(names, found, strict=True))


def _private_kib(pids: list[int]) -> float:
    return statistics.median(memory_of(pid).private_bytes for pid in pids) / KIB
