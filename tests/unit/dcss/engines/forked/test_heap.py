"""Holes in the fork server's heap: filled before the first fork, so that what comes after lies close together."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import random, sys
sys.path.insert(0, {root!r})
from dcss.engines.forked.heap import fill_holes
random.seed(1)
sizes = range(80, 513, 48)
kept = [bytes(size - 33) for _ in range(2000) for size in sizes]
holes = [kept[i] for i in random.sample(range(len(kept)), len(kept) // 4)]
kept = [k for k in kept if random.random() < 0.7]
del holes
if {fill!r}:
    fill_holes()
pages = set()
new = []
for _ in range(20):
    for size in sizes:
        new.append(bytes(size - 33))
        pages.add(id(new[-1]) // 4096)
print(len(pages))
"""


def touched_pages(*, fill: bool) -> int:
    program = PROGRAM.format(root=str(Path(__file__).parents[5]), fill=fill)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_new_objects_lie_close_together() -> None:
    # 200 objects of 10 sizes, 59,200 bytes: 15 pages at the least, and one more for each size that begins in between.
    assert touched_pages(fill=True) <= 30
    assert touched_pages(fill=False) > 60


def test_filling_holes_stays_small() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[5])!r})
from dcss.engines.forked import heap
heap.fill_holes()
print(sum(map(sys.getsizeof, heap._filling)))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1 << 20  # where no fresh pool is noticed it is 33 MB
