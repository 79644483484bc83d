"""What each way to file bytes costs a guest: memory by the host's books, copies by the guest's own, and time.

It runs configs/modes.yaml, in which two guests of each mode do the same work, and prints medians over all rounds but
the first, since memory that the machine never used before is slow to get.

    python benchmarks/modes.py [ROUNDS]
"""

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "modes.yaml"
MIB = 1 << 20


def run() -> dict[str, Any]:
    command = [sys.executable, "-m", "dcss", "run", str(CONFIG), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def figures(document: dict[str, Any]) -> dict[str, list[tuple[float, ...]]]:
    """Return MiB and milliseconds of each guest, by mode."""
    seconds = {outcome["name"]: outcome["seconds"] for outcome in document["guests"]}
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for account in document["measure"]["guests"]:
        guest, host = account["guest"], account["host"]
        copies = (guest["page_cache_bytes"], guest["buffer_bytes"])
        sizes = (host["uss_bytes"], guest["xip_bytes"], *copies)
        row = (*(size_bytes / MIB for size_bytes in sizes), 1000 * seconds[account["name"]])
        found[account["mounts"][0]["mode"]].append(row)
    return found


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    image_bytes = 0
    for number in range(rounds + 1):
        document = run()
        image_bytes = document["measure"]["segments"][0]["bytes"]
        if number:
            for mode, guests in figures(document).items():
                rows[mode] += guests
    print(f"image of {image_bytes / MIB:.1f} MiB, medians of {rounds} rounds, MiB of each guest:\n")
    print("| mode | private | shared | of private: page cache | of private: buffers and ramdisk | work done after |")
    print("| --- | --- | --- | --- | --- | --- |")
    for mode, guests in rows.items():
        *sizes, milliseconds = (statistics.median(column) for column in zip(*guests, strict=True))
        print(f"| `{mode}` | " + " | ".join(f"{size:.1f}" for size in sizes) + f" | {milliseconds:.0f} ms |")


if __name__ == "__main__":
    main()
