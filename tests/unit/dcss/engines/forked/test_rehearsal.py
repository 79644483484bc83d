"""The fork server rehearses a guest's start: guests get a warm interpreter of it, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from dcss.engines.forked.rehearsal import rehearse
from vmguest import hostmem, mm

def state():
    lines = open("/proc/self/maps").read().splitlines()
    bounds = [[int(part, 16) for part in line.split()[0].split("-")] + [line.split()[1]] for line in lines]
    inside = [
        permissions for start, end, permissions in bounds
        for low, size in reserved.ranges if start < low + size and low < end
    ]
    return {
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "in the reserved ranges": sorted(set(inside)),
        "of the image": [line for line in lines if "rehearsal" in line],
    }

reserved = hostmem.reserve()
mapped = []
original = mm.AddressSpace.map
mm.AddressSpace.map = lambda self, file, *rest, **more: mapped.append(1) or original(self, file, *rest, **more)
before = state()
rehearse(reserved)
print(json.dumps([before, state(), len(mapped)]))
"""


def test_it_maps_files_and_leaves_nothing_behind() -> None:
    root = str(Path(__file__).parents[5])
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, root]
    before, after, mapped = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert mapped > 50
    assert after == before
    assert after["in the reserved ranges"] == ["---p"]
