"""CP is killed at every step of a save: the old or the new version is there whole, and nothing else."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp, define, filler, objects_of, private_directories, unique_system

LIB = define("LIB", "20000-2000F SR")
OLD, NEW = (letter * 65536 for letter in (b"o", b"n"))
# Kills itself at the given step, counted from 0, of what argv[2] names.
VICTIM = textwrap.dedent(
    """
    import os, signal, sys
    from cp_support import BlockingCp, define, filler

    LIB = define("LIB", "20000-2000F SR")
    countdown = int(sys.argv[3])

    def fault(step):
        global countdown
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        countdown -= 1

    cp = BlockingCp(sys.argv[1], fault=fault)
    cp.publish(define("OTHER", "30000-3000F SR"), filler(b"in storage, too"))
    if sys.argv[2] == "saveseg":
        cp.saved.save(LIB.name, filler(b"n" * 65536))
    elif sys.argv[2] == "import":
        cp.saved.store(LIB, filler(b"n" * 65536))
    elif sys.argv[2] == "defseg":
        cp.saved.define(LIB)
    else:
        cp.saved.purge(cp.saved_segment)
    cp.close()
    """
).replace("cp.saved_segment", 'next(each for each in cp.files.values() if each.name == "LIB")')
# Class and content of each file before and after.
A_OLD, A_NEW, SKELETON = ("A", OLD), ("A", NEW), ("S", None)
OPERATIONS = {
    "saveseg": ([A_OLD, SKELETON], [A_NEW]),
    "import": ([A_OLD], [A_NEW]),
    "defseg": ([A_OLD], [A_OLD, SKELETON]),
    "purge": ([A_OLD], []),
}
# Steps counted at run time; losing one would mean an instant that no test kills at.
FAULT_POINTS = {
    "saveseg": [
        *(f"content {step}" for step in ("created", "written", "synced", "renamed", "in place")),
        *(f"manifest {step}" for step in ("created", "written", "synced", "renamed", "in place")),
        "manifest removed",
        "content removed",
    ],
    "defseg": [f"manifest {step}" for step in ("created", "written", "synced", "renamed", "in place")],
    "purge": ["manifest removed", "content removed"],
}
FAULT_POINTS["import"] = FAULT_POINTS["saveseg"]


@pytest.fixture(autouse=True)
def directories() -> Iterator[None]:
    with private_directories():
        yield


def prepare(system: str, operation: str) -> None:
    with BlockingCp(system) as cp:
        cp.saved.store(LIB, filler(OLD))
        if operation == "saveseg":
            cp.saved.define(LIB)


def state(system: str) -> list[tuple[str, bytes | None]]:
    with BlockingCp(system) as cp:
        assert cp.findings == []
        found = []
        for file in cp.files.values():
            if file.file_class != "S":
                cp.open(file.name)
            found.append((file.file_class.value, None if file.file_class == "S" else bytes(file.object.buffer)))
    return sorted(found, key=lambda each: each[0])


def steps_of(operation: str) -> list[str]:
    steps: list[str] = []
    system = unique_system("count")
    prepare(system, operation)
    with BlockingCp(system, fault=steps.append) as cp:
        if operation == "saveseg":
            cp.saved.save(LIB.name, filler(NEW))
        elif operation == "import":
            cp.saved.store(LIB, filler(NEW))
        elif operation == "defseg":
            cp.saved.define(LIB)
        else:
            cp.saved.purge(cp.files[1])
    return steps


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_steps_are_these(operation: str) -> None:
    assert steps_of(operation) == FAULT_POINTS[operation]


@pytest.mark.parametrize(
    ("operation", "step"),
    [(operation, step) for operation, points in FAULT_POINTS.items() for step in range(len(points) + 1)],
)
def test_killed_at_any_step(operation: str, step: int) -> None:
    system = unique_system("crash")
    prepare(system, operation)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, "-c", VICTIM, system, operation, str(step)], env=environment, check=False)
    last = step == len(FAULT_POINTS[operation])
    assert done.returncode == (0 if last else -9)
    before, after = OPERATIONS[operation]
    found = state(system)
    commit = "manifest removed" if operation == "purge" else "manifest renamed"
    assert found == (after if commit in FAULT_POINTS[operation][: step + 1] else before)
    assert objects_of(system) == []
    spool = Path(os.environ["XDG_STATE_HOME"], "dcss", system)
    contents = sum(file_class != "S" for file_class, _ in found)
    assert sorted(path.suffix for path in spool.iterdir()) == [".content"] * contents + [".manifest"] * len(found)
