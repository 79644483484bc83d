"""Time and memory against the number of guests."""

import json
from functools import partial

from benchmarks.framework.kernel_books import MIB, memory_of, total_memory, tree_of
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.results import Growth
from benchmarks.framework.rounds import grow
from benchmarks.framework.session import Session

NAME = "growth-guests"
GUESTS = partial(Growth, NAME, against="guests")
ROWS = (
    GUESTS("ready", unit="s", kind="time", includes="first fork to last guest ready", leaves_out="publication"),
    GUESTS("memory", unit="MiB", kind="memory", includes="proportional set sizes and page tables of all processes"),
    GUESTS("verify and measure", unit="s", kind="cpu", includes="CPU of CP for both", leaves_out="the clients"),
    GUESTS("CP's memory", unit="MiB", kind="memory", includes="anonymous memory of CP before any proof"),
    GUESTS("stop", unit="s", kind="time", includes="from the order to take the system down to its end"),
)


def run(session: Session) -> list[Growth]:
    """Measure systems of one guest to a thousand."""
    with session.directory("growth") as directory:
        image = library_image(session, directory, session.pick(quick=16, full=32) * MIB)
        system = f"grow-{session.name}"

        def measure(guests: int) -> dict[str, float]:
            config = config_of(session, system, image.path, guests)
            with session.served("system", str(config)) as served:
                memory = total_memory(tree_of(served.pid))
                own_bytes = memory_of(served.pid).anonymous_bytes
                cpu_before = served.cpu_seconds()
                for command in ("verify", "measure"):
                    json.loads(session.dcss(command, system, "--json"))
                return {
                    "ready": served.ready["ready"],
                    "memory": (memory.proportional_bytes + memory.page_table_bytes) / MIB,
                    "verify and measure": served.cpu_seconds() - cpu_before,
                    "CP's memory": own_bytes / MIB,
                    "stop": served.stop()["stop"],
                }

        sizes = session.pick(quick=(2, 8, 32), full=(1, 10, 100, 300, 1000))
        return grow(NAME, ROWS, sizes, measure, rounds=1, warm_up=session.quick)
