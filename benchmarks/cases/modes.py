"""What each way to file bytes costs a guest: memory by the host's account, copies by the guest's own, and time."""

import json
import statistics
from collections import defaultdict
from typing import Any

from benchmarks.framework.kernel_books import MIB
from benchmarks.framework.machine import ROOT
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, compare
from benchmarks.framework.session import Session

CONFIG = ROOT / "configs" / "modes.yaml"
OURS = "xip"
SPECS = (
    RowSpec(
        "private", "MiB", "memory", "frames that only one guest's process maps, the emulator included", "page tables"
    ),
    RowSpec("shared", "MiB", "memory", "pages of the segment that one guest maps"),
    RowSpec("page cache", "MiB", "memory", "of *private*, by the guest's own account"),
    RowSpec("buffers and ramdisk", "MiB", "memory", "of *private*, by the guest's own account"),
    RowSpec(
        "work done",
        "ms",
        "time",
        "from a guest's start to the end of its workload, with eight guests at once: it maps every library with every "
        "page present, and reads it once more",
        "publication",
    ),
)


def run(session: Session) -> list[Row]:
    """Run configs/modes.yaml, in which two guests of each mode do the same work."""
    config = session.scratch / "modes.yaml"
    config.write_text(CONFIG.read_text().replace("system: modes", f"system: modes-{session.name}"))

    def modes() -> Sample:
        return _by_mode(json.loads(session.dcss("run", config, "--json")))

    return compare("modes", SPECS, {OURS: modes}, rounds=session.pick(quick=2, full=5), ours=OURS)


def _by_mode(document: dict[str, Any]) -> Sample:
    """Return the median of the guests of each mode."""
    seconds = {outcome["name"]: outcome["seconds"] for outcome in document["guests"]}
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for account in document["measure"]["guests"]:
        guest, host = account["guest"], account["host"]
        sizes = (host["uss_bytes"], guest["xip_bytes"], guest["page_cache_bytes"], guest["buffer_bytes"])
        row = (*(size_bytes / MIB for size_bytes in sizes), 1000 * seconds[account["name"]])
        found[account["mounts"][0]["mode"]].append(row)
    return {
        (mode, spec.name): statistics.median(column)
        for mode, guests in found.items()
        for spec, column in zip(SPECS, zip(*guests, strict=True), strict=True)
    }
