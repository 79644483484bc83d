"""A thousand guests: everything that they cost the machine, and what it takes to prove, account and stop them."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cases.start import BARE
from benchmarks.framework.control_group import memory_group, no_memory_group_because
from benchmarks.framework.kernel_books import MIB, used_bytes
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.proc_reading import read_seconds
from benchmarks.framework.ps_requests import PsRequests
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, compare
from benchmarks.framework.served import Served
from benchmarks.framework.session import Session

BOOKS = "the same files of /proc read"
QUIET = "while nothing else runs"
OUTSIDE = "from outside"
MOST_MIB = 1.1e9 / MIB
QUIET_SECONDS = 1.0


def run(session: Session) -> list[Row]:
    """Measure a system of a thousand guests, beside as many bare forks."""
    guests = session.pick(quick=60, full=1000)
    with session.directory("many") as directory:
        image = library_image(session, directory, session.pick(quick=48, full=100) * MIB)
        system = f"many-{session.name}"
        config = config_of(session, system, image.path, guests)
        order = {"count": guests, "work": "map", "path": str(image.path), "huge": True}
        subjects = {"dcss": lambda: _system(session, system, config), BARE: lambda: _bare(session, order)}
        rounds = session.pick(quick=2, full=2)
        return compare("many", _specs(guests), subjects, rounds=rounds, warm_up=session.quick)


def _specs(guests: int) -> list[RowSpec]:
    proof = f"CPU of CP and of the client until the result of {{}} of {guests} guests is printed"
    return [
        RowSpec(
            "ready",
            "s",
            "time",
            f"from the first fork to the last of {guests} guests ready, its files mapped and every page present, in "
            "huge pages on both sides where the machine has them",
            "publication, and the start of interpreters and of the fork server",
            wanted_ratio=(BARE, 1.6),
        ),
        RowSpec(
            "everything",
            "MiB",
            "memory",
            f"what the kernel charges a control group with {guests} ready guests, or else what free memory fell by: "
            "guests, page tables, slab and stacks of the kernel, CP and servers",
            "the segment",
            wanted_most=MOST_MIB,
        ),
        RowSpec(
            "account",
            "MiB",
            "memory",
            "what `dcss measure` accounts for: private pages and page tables of all guests, and the segment; from "
            "outside it is *everything* after that, and the segment",
            "what *everything* has besides: CP, servers, slab and stacks of the kernel",
        ),
        RowSpec(
            "verify and measure",
            "s",
            "cpu",
            proof.format("`dcss verify` and then `dcss measure`")
            + "; the same files are smaps and pagemap of each guest",
            wanted_ratio=(BOOKS, 3.0),
            wanted_most=15.0,
        ),
        RowSpec("verify", "s", "time", f"from the command `dcss verify` of {guests} guests to its verdict"),
        RowSpec("measure", "s", "time", f"from the command `dcss measure` of {guests} guests to its result"),
        RowSpec(
            "slowest answer to ps",
            "ms",
            "time",
            f"the slowest of the answers to `ps` of {guests} guests, asked ten times a second while `dcss verify` runs",
        ),
        RowSpec(
            "stop",
            "s",
            "time",
            f"from the order to take {guests} guests down to the end of all",
            wanted_most=2.0,
        ),
    ]


@contextmanager
def _weighed() -> Iterator[tuple[Callable[[], int], Sequence[str]]]:
    """Yield what tells the memory taken so far, and the words that start the command whose memory it is."""
    if no_memory_group_because() is None:
        with memory_group() as group:
            yield group.used_bytes, group.prefix
    else:
        before_bytes = used_bytes()
        yield lambda: used_bytes() - before_bytes, ()


def _system(session: Session, system: str, config: Path) -> Sample:
    with _weighed() as (taken_bytes, prefix), session.served("system", str(config), prefix=prefix) as served:
        found: dict[str | tuple[str, str], float] = {
            "ready": served.ready["ready"],
            "everything": (taken_bytes() - served.ready["segment_bytes"]) / MIB,
        }
        found |= _proofs(session, system, served)
        found[OUTSIDE, "account"] = taken_bytes() / MIB
        found |= _answers(session, system)
        found["stop"] = served.stop()["stop"]
        return found


def _bare(session: Session, order: dict[str, object]) -> Sample:
    with _weighed() as (taken_bytes, prefix), session.bare(order, prefix) as served:
        everything_mib = taken_bytes() / MIB
        return {"ready": served.ready["ready"], "everything": everything_mib, "stop": served.stop()["stop"]}


def _proofs(session: Session, system: str, served: Served) -> Mapping[str | tuple[str, str], float]:
    """Time `dcss verify` and `dcss measure`, and reading alone."""
    cpu_before = _cpu(served)
    began = time.monotonic()
    verdict = json.loads(session.dcss("verify", system, "--json"))["verdict"]
    verified = time.monotonic()
    account = json.loads(session.dcss("measure", system, "--json"))
    measured = time.monotonic()
    cpu = _cpu(served) - cpu_before
    if verdict != "verified":
        raise RuntimeError(f"system {system}: found verdict {verdict}, wanted verified")
    hosts = [guest["host"] for guest in account["guests"]]
    account_bytes = sum(host["uss_bytes"] + host["page_table_bytes"] for host in hosts)
    account_bytes += sum(segment["resident_bytes"] for segment in account["segments"])
    return {
        "account": account_bytes / MIB,
        "verify and measure": cpu,
        (BOOKS, "verify and measure"): read_seconds(served.ready["pids"]),
        "verify": verified - began,
        "measure": measured - verified,
    }


def _cpu(served: Served) -> float:
    """Return the CPU seconds of CP, of the children that it waited for, and of the clients so far."""
    times = os.times()
    return served.cpu_seconds() + times.children_user + times.children_system


def _answers(session: Session, system: str) -> Mapping[str | tuple[str, str], float]:
    control = session.scratch / "run" / "dcss" / system / "control"
    with PsRequests(control) as quiet:
        time.sleep(QUIET_SECONDS)
    with PsRequests(control) as busy:
        session.dcss("verify", system, "--json")
    row = "slowest answer to ps"
    return {row: max(busy.seconds) * 1e3, (QUIET, row): max(quiet.seconds) * 1e3}
