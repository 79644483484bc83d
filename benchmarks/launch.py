"""A hundred guests against a hundred bare forks: time until all are ready, CPU time and private memory of each.

The reference is what nobody can beat with processes: children of the same server (same imports, frozen the same way)
that map the same number of bytes with one mmap, touch every page, and do nothing else. Both run in turn, in one go; the
first round is discarded, since memory that the machine never used before is slow to get. CPU time depends less than the
time on what else the machine does; that of the fork server includes its start.

    python benchmarks/launch.py [ROUNDS]
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GUESTS = 100
SEGMENT_BYTES = 100 << 20

OURS = """
import asyncio, json, sys, time
started = float(sys.argv[1])
from pathlib import Path
from dcss.config.load import load_plan
from dcss.progress import SilentProgress
from dcss.system.system import System
plan = load_plan(Path(sys.argv[2]))

async def main():
    async with System(plan, SilentProgress()) as system:
        before = time.monotonic()
        await system.publish()
        published = time.monotonic()
        system.launch()
        await system.wait()
        ready = time.monotonic()
        assert all(guest.ready for guest in system.guests.values()), "a guest failed"
        uss = [USS(pid) for guest in system.guests.values() for pid in guest.pids]
        cpu = [CPU(pid) for guest in system.guests.values() for pid in guest.pids]
        server_cpu = sum(CPU(pid) for engine in system.engines.values() for pid in engine.pids)
        size_bytes = sum(segment.object.size_bytes for segment in system.cp.segments.values())
        return before, published, ready, uss, cpu, server_cpu, size_bytes

before, published, ready, uss, cpu, server_cpu, size_bytes = asyncio.run(main())
print(json.dumps({"publish": published - before, "ready": ready - started - (published - before), "uss": uss,
                  "cpu": cpu, "server_cpu": server_cpu, "bytes": size_bytes}))
"""

BARE = """
import gc, json, os, signal, sys, time
sys.path.insert(0, sys.argv[2])
from dcss.engines.process.forkserver import hostmem
size_bytes, count = int(sys.argv[3]), int(sys.argv[4])
reservation = hostmem.reserve()
writer = os.open("/dev/shm/dcss-bench", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
reader = os.open("/dev/shm/dcss-bench", os.O_RDONLY)
os.unlink("/dev/shm/dcss-bench")
for offset in range(0, size_bytes, 1 << 20):
    os.pwrite(writer, os.urandom(min(1 << 20, size_bytes - offset)), offset)
hostmem.map_object(reservation.window, size_bytes, reader, 0, writable=False, private=False, populate=True)
gc.collect(); gc.freeze()
ready, theirs = os.pipe()
started = time.monotonic()
pids = []
for _ in range(count):
    pid = os.fork()
    if pid == 0:
        hostmem.map_object(reservation.user_area, size_bytes, reader, 0, writable=False, private=False, populate=False)
        hostmem.view(reservation.user_area, size_bytes)[::4096].tobytes()
        os.write(theirs, b"x")
        signal.pause()
    pids.append(pid)
os.close(theirs)
left = count
while left:
    said = len(os.read(ready, left))
    assert said, "a bare fork died"
    left -= said
seconds = time.monotonic() - started
uss, cpu = [USS(pid) for pid in pids], [CPU(pid) for pid in pids]
for pid in pids:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(json.dumps({"ready": seconds, "uss": uss, "cpu": cpu}))
"""

COSTS = """
def USS(pid):
    fields = dict(line.split()[:2] for line in open(f"/proc/{pid}/smaps_rollup").readlines()[1:])
    return (int(fields["Private_Clean:"]) + int(fields["Private_Dirty:"])) * 1024

def CPU(pid):
    return int(open(f"/proc/{pid}/schedstat").read().split()[0]) / 1e9
"""


def run(program: str, *options: str, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a program in a fresh interpreter and return what it prints as JSON."""
    command = [sys.executable, *options, "-c", COSTS + program, str(time.monotonic()), *arguments]
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def main() -> None:
    """Print medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ours, bare = [], []
    for _ in range(rounds + 1):
        ours.append(run(OURS, arguments=(str(ROOT / "configs/hundred.yaml"),)))
        size = str(ours[-1]["bytes"])
        bare.append(run(BARE, "-I", "-S", arguments=(str(ROOT), size, str(GUESTS))))
    seconds = {
        name: statistics.median(float(r["ready"]) for r in runs[1:]) for name, runs in (("o", ours), ("b", bare))
    }
    uss = {name: statistics.median(u for r in runs[1:] for u in r["uss"]) for name, runs in (("o", ours), ("b", bare))}
    cpu = {name: statistics.median(c for r in runs[1:] for c in r["cpu"]) for name, runs in (("o", ours), ("b", bare))}
    server_cpu = statistics.median(float(r["server_cpu"]) for r in ours[1:])
    publish = statistics.median(float(r["publish"]) for r in ours[1:])
    print(f"{GUESTS} guests, {int(ours[-1]['bytes']) >> 20} MiB each, median of {rounds} rounds")
    print(f"publishing (once)             {publish:7.2f} s")
    print(f"command to all ready          {seconds['o']:7.2f} s   without publishing")
    print(f"bare forks, all ready         {seconds['b']:7.2f} s")
    print(f"ratio                         {seconds['o'] / seconds['b']:7.2f}     wanted at most 2.5")
    print(f"CPU time of a guest           {cpu['o'] * 1000:7.1f} ms")
    print(f"CPU time of a bare fork       {cpu['b'] * 1000:7.1f} ms")
    print(f"CPU time of the fork server   {server_cpu * 1000:7.1f} ms")
    print(f"private memory of a guest     {uss['o'] / 1024:7.0f} KiB")
    print(f"private memory of a bare fork {uss['b'] / 1024:7.0f} KiB")
    print(f"ratio                         {uss['o'] / uss['b']:7.2f}     wanted at most 1.5")


if __name__ == "__main__":
    main()
