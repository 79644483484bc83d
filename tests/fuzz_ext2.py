"""Fuzz the ext2 reader for as long as you like: python tests/fuzz_ext2.py --cases 100000

Ends with status 1 if a damaged image brought out anything but the two errors it may, took too long or too much memory.
Each such case is kept as a recipe (--keep DIRECTORY), made as small as it goes, for tests/corpus/ext2/.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))

from fuzz_support import BASES, Damage, Recipe, run

MEMORY_LIMIT_BYTES = 1 << 30


def fault_of(recipe: Recipe) -> str | None:
    """Return what went wrong with a case, or None."""
    try:
        run(recipe)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def smallest(recipe: Recipe) -> Recipe:
    """Leave out whatever the fault does not need."""
    if recipe.cut_bytes is not None and fault_of(replace(recipe, cut_bytes=None)):
        recipe = replace(recipe, cut_bytes=None)
    for edit in recipe.edits:
        without = replace(recipe, edits=tuple(other for other in recipe.edits if other is not edit))
        if fault_of(without):
            recipe = without
    return recipe


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, help="stop after this time, whatever --cases says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--image", action="append", help="a sound image to damage instead of our own; may be given again"
    )
    parser.add_argument("--keep", type=Path, help="directory for recipes of what went wrong")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    damage = Damage(options.seed, tuple(options.image or BASES))
    started, slowest, faults, cases = time.monotonic(), (0.0, 0), 0, 0
    for number in range(options.cases):
        if options.seconds is not None and time.monotonic() - started > options.seconds:
            break
        recipe = damage.recipe(number)
        before = time.process_time()
        fault = fault_of(recipe)
        slowest = max(slowest, (time.process_time() - before, number))
        cases += 1
        if fault is not None:
            faults += 1
            recipe = replace(smallest(recipe), note=f"{recipe.note}: {fault}")
            print(recipe.note)
            if options.keep is not None:
                recipe.save(options.keep / f"seed-{options.seed}-case-{number}.json")
    # Not ru_maxrss: that starts with what the process was before its exec, pytest for one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak_kib = int(status["VmHWM"].split()[0])
    seconds = time.monotonic() - started
    worst = f"slowest {slowest[0]:.3f} s (case {slowest[1]})"
    print(f"{cases} cases, {faults} faults, {seconds:.0f} s, {worst}, peak memory {peak_kib} KiB")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
