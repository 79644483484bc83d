"""CP's time against the number of versions of one segment that are in use."""

import json
import sys
from functools import partial

from benchmarks.framework.machine import ROOT
from benchmarks.framework.results import Growth
from benchmarks.framework.rounds import grow
from benchmarks.framework.session import Session

NAME = "growth-versions"
VERSIONS = partial(Growth, NAME, against="versions in use", unit="s", kind="time")
ROWS = (
    VERSIONS("save and load", includes="saving every version of 1 MiB, and one machine's load of each"),
    VERSIONS("query", includes="CP's answer to QUERY NSS MAP"),
)


def run(session: Session) -> list[Growth]:
    """Measure a CP with one version to a thousand."""
    program = ROOT / "benchmarks" / "programs" / "versions.py"

    def measure(versions: int) -> dict[str, float]:
        answer = session.run(sys.executable, program, f"versions-{session.name}", str(versions))
        found: dict[str, float] = json.loads(answer)
        return found

    sizes = session.pick(quick=(1, 10, 50), full=(1, 10, 100, 300, 1000))
    return grow(NAME, ROWS, sizes, measure, rounds=1)
