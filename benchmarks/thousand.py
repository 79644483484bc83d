"""A thousand guests that share 100 MiB: seconds to start, verify and measure them, and how CP answers meanwhile.

The system is started, proved and taken down by the `dcss` of this checkout; with a second checkout by its `dcss` as
well, for comparison. `verify` and `measure` are timed alone; then `verify` runs again while a loop asks for `ps` on the
control socket ten times a second. Bare figures stand beside them: the same requests while nothing else goes on, and
what the kernel takes to add up each guest's smaps_rollup, without which no account can be made. Nothing is asserted.
A thousand guests need 4 GB.

    python benchmarks/thousand.py [GUESTS [OTHER_CHECKOUT]]
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SYSTEM = "thousand"
PATIENCE_SECONDS = 600
IDLE_SECONDS = 5.0
PAUSE_SECONDS = 0.1
PLAN = """
system: {system}
segments:
  - name: LIB
    at: 0x20000000
    type: SR
    image:
      files: ["/usr/lib*/**/lib*.so.*"]
      at_least: {{files: 5, size: 16M}}
      up_to: 100M
guests:
  - name: L
    count: {guests}
    mounts:
      - {{device: dcssblk0, at: /, options: [ro, xip]}}
    run:
      - map: /usr/lib*/**/*.so*
"""


class Answers(NamedTuple):
    """Answer times of `ps` requests, in milliseconds."""

    milliseconds: list[float]

    def __str__(self) -> str:
        times = self.milliseconds
        if not times:
            return "no answer"
        return f"worst {max(times):8.1f} ms, median {statistics.median(times):6.1f} ms of {len(times)} requests"


class Figures(NamedTuple):
    """What was measured of one checkout."""

    start_seconds: float
    idle: Answers
    rollup_seconds: float
    verify_seconds: float
    measure_seconds: float
    busy: Answers
    verdict: str


class Asker:
    """Asks for `ps` in a thread of its own until it is left."""

    def __init__(self, runtime: Path) -> None:
        self._socket = str(runtime / "dcss" / SYSTEM / "control")
        self._stop = threading.Event()
        self._times: list[float] = []
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Asker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def answers(self) -> Answers:
        return Answers(self._times)

    def _ask(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            asked = time.monotonic()
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(PATIENCE_SECONDS)
                control.connect(self._socket)
                control.sendall(b'{"dcss": 1, "request": "ps"}\n')
                while chunk := control.recv(1 << 20):
                    if chunk.endswith(b"\n"):
                        break
            self._times.append((time.monotonic() - asked) * 1e3)


def run_checkout(checkout: Path, guests: int) -> Figures:
    """Start the system by one checkout's `dcss`, measure, and take it down."""
    with tempfile.TemporaryDirectory(prefix="dcss-bench-") as directory:
        home = Path(directory)
        (home / "run").mkdir(mode=0o700)
        plan = home / "plan.yaml"
        plan.write_text(PLAN.format(system=SYSTEM, guests=guests))
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(home / "run"), "XDG_STATE_HOME": str(home / "state")}

        def dcss(*words: str) -> tuple[float, str]:
            command = [str(checkout / ".venv" / "bin" / "dcss"), *words]
            started = time.monotonic()
            done = subprocess.run(
                command,
                env=environment,
                cwd=checkout,
                check=False,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
            )
            if done.returncode > 1:  # 1: a verdict that is refuted, which is shown
                raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
            return time.monotonic() - started, done.stdout

        start_seconds, _ = dcss("up", str(plan), "-d")
        try:
            with Asker(home / "run") as idle:
                time.sleep(IDLE_SECONDS)
            verify_seconds, verdict = dcss("verify", SYSTEM, "--json")
            measure_seconds, account = dcss("measure", SYSTEM, "--json")
            with Asker(home / "run") as busy:
                dcss("verify", SYSTEM, "--json")
            pids = [pid for guest in json.loads(account)["guests"] for pid in guest["pids"]]
            rollup_seconds = read_rollups(pids)
        finally:
            dcss("down", SYSTEM)
        return Figures(
            start_seconds,
            idle.answers,
            rollup_seconds,
            verify_seconds,
            measure_seconds,
            busy.answers,
            json.loads(verdict)["verdict"],
        )


def read_rollups(pids: list[int]) -> float:
    """Return the seconds that reading every guest's smaps_rollup takes."""
    started = time.monotonic()
    for pid in pids:
        Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    return time.monotonic() - started


def show(checkout: Path, figures: Figures) -> None:
    """Print what was measured of one checkout."""
    print(f"{checkout}: {figures.verdict}")
    print(f"  start                  {figures.start_seconds:8.2f} s")
    print(f"  verify                 {figures.verify_seconds:8.2f} s")
    print(
        f"  measure                {figures.measure_seconds:8.2f} s   smaps_rollup alone {figures.rollup_seconds:.2f} s"
    )
    print(f"  ps, nothing else on    {figures.idle}")
    print(f"  ps, while verify runs  {figures.busy}", flush=True)


def main() -> None:
    """Measure this checkout and, where there is one, the other; print ratios."""
    guests = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{guests} guests that share 100 MiB")
    ours = run_checkout(ROOT, guests)
    show(ROOT, ours)
    if len(sys.argv) > 2:
        other = Path(sys.argv[2]).resolve()
        theirs = run_checkout(other, guests)
        show(other, theirs)
        before = theirs.verify_seconds + theirs.measure_seconds
        now = ours.verify_seconds + ours.measure_seconds
        print(f"start: {theirs.start_seconds / ours.start_seconds:.2f} times as fast as there")
        print(f"verify and measure: {before / now:.2f} times as fast as there, {now:.2f} s for {before:.2f} s")


if __name__ == "__main__":
    main()
