"""CP is killed in SAVESEG and in an import at every system call that changes the disk, and in the middle of each write.

test_spool_crash.py kills at the fault points that the code names. Here the system calls themselves are the points: a
write that no fault point knows of is found all the same, and one that no wrapper here knows of fails the test.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cp_support import BlockingCp, define, filler, objects_of, private_directories, unique_system

from dcss.cp.requests import Issuer
from dcss.cp.spool.transfer import export_segments, import_segment, read_exported

LIB = define("LIB", "20000-2000F SR", "20010-20013 SN")
OLD, NEW = (letter * 65536 for letter in (b"o", b"n"))
NAMED = ("open", "mkdir", "rename", "unlink", "fsync", "posix_fallocate")
DATA = ("write", "pwrite", "sendfile")  # cut in two
AUDITED = {"open": 0, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.truncate": 0, "os.link": 1, "os.symlink": 1}
# What a save cannot do without: more may come, fewer would mean that calls escape this test.
FLOOR = {
    "saveseg": {"open": 2, "posix_fallocate": 1, "pwrite": 2, "write": 1, "fsync": 5, "rename": 2, "unlink": 2},
    "import": {"open": 2, "posix_fallocate": 1, "sendfile": 1, "write": 1, "fsync": 5, "rename": 2, "unlink": 2},
}


@pytest.fixture(autouse=True)
def directories() -> Iterator[Path]:
    with private_directories() as path:
        yield path


class Watch:
    """Tells each system call that changes something below `root` as a step, in a process that is to be killed."""

    def __init__(self, root: Path, step: Callable[[str], None]) -> None:
        self._root, self._step = str(root), step
        self._inside = 0
        for name in (*NAMED, *DATA):
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        sys.addaudithook(self._audit)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._inside += 1
            try:
                if self._inside > 1 or not self._concerns(name, arguments):
                    return real(*arguments, **options)
                self._step(name)
                if name in DATA:
                    half_bytes = _size_bytes(name, arguments) // 2
                    if half_bytes:
                        real(*_cut(name, arguments, half_bytes), **options)
                        self._step(f"{name} in part")
                        _undo(name, arguments, half_bytes)
                return real(*arguments, **options)
            finally:
                self._inside -= 1

        return call

    def _concerns(self, name: str, arguments: tuple[Any, ...]) -> bool:
        if name == "open" and not arguments[1] & (os.O_CREAT | os.O_TRUNC):
            return False
        target = arguments[0] if name != "rename" else arguments[1]
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)  # noqa: PTH115
        return str(path).startswith(self._root)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """End at once on a change that no wrapper has seen."""
        if event not in AUDITED or self._inside:
            return
        target = arguments[AUDITED[event]]
        writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if isinstance(target, str | os.PathLike) and os.fspath(target).startswith(self._root) and writes:
            os.write(2, f"{event} {arguments} escaped\n".encode())
            os._exit(99)


def _size_bytes(name: str, arguments: tuple[Any, ...]) -> int:
    if name == "sendfile":
        return os.fstat(arguments[1]).st_size - os.lseek(arguments[1], 0, os.SEEK_CUR)
    return len(arguments[1])


def _cut(name: str, arguments: tuple[Any, ...], size_bytes: int) -> tuple[Any, ...]:
    if name == "sendfile":
        return (*arguments[:3], size_bytes)
    return (arguments[0], memoryview(arguments[1])[:size_bytes], *arguments[2:])


def _undo(name: str, arguments: tuple[Any, ...], size_bytes: int) -> None:
    """Put the descriptors back to where they were before a call that was made in part."""
    for descriptor in {"sendfile": arguments[:2], "write": arguments[:1]}.get(name, ()):
        os.lseek(descriptor, -size_bytes, os.SEEK_CUR)


def prepare(system: str, operation: str, image: Path) -> None:
    with BlockingCp(system) as cp:
        export_segments([cp.saved.store(LIB, filler(NEW))], image)
        cp.execute("PURGE NSS ALL")
        cp.saved.store(LIB, filler(OLD))
        if operation == "saveseg":
            cp.saved.define(LIB)


def perform(system: str, operation: str, image: Path) -> None:
    with BlockingCp(system) as cp:
        if operation == "saveseg":
            cp.register(
                "MAINT", storage_bytes=1 << 30, privilege="EG", dump=lambda fd, _address, _size: filler(NEW)(fd)
            )
            response = cp.execute("SAVESEG LIB", Issuer("MAINT", frozenset("EG"), cp.machines["MAINT"]))
            assert response.return_code == 0, response
        else:
            (manifest,) = read_exported(image)
            cp.run(import_segment(cp.cp.saved, image, manifest.definition, digest=manifest.digest))


def run(system: str, operation: str, image: Path, countdown: int) -> tuple[int, list[str]]:
    """Perform in a process that dies after `countdown` steps; return how it ended, and the steps."""
    log = image.with_name("steps")
    log.write_bytes(b"")
    pid = os.fork()
    if pid == 0:
        left = countdown
        steps = os.open(log, os.O_WRONLY)
        write = os.write

        def step(name: str) -> None:
            nonlocal left
            write(steps, f"{name}\n".encode())
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        status = 1
        try:
            Watch(Path(os.environ["XDG_STATE_HOME"]), step)
            perform(system, operation, image)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), log.read_text().splitlines()


def state(system: str) -> dict[str, bytes | None]:
    """Return class and content of what a new CP finds, and check that there is nothing else."""
    with BlockingCp(system) as cp:
        assert cp.findings == []
        found: dict[str, bytes | None] = {}
        for file in cp.files.values():
            saved = file.file_class != "S"
            found[file.file_class.value] = bytes(cp.open(file.name).object.buffer[: len(OLD)]) if saved else None
        spool = Path(os.environ["XDG_STATE_HOME"], "dcss", system)
        contents = sum(content is not None for content in found.values())
        assert sorted(each.suffix for each in spool.iterdir()) == [".content"] * contents + [".manifest"] * len(found)
    assert objects_of(system) == []
    return found


@pytest.mark.parametrize("operation", FLOOR)
def test_killed_at_every_system_call(operation: str, tmp_path: Path) -> None:
    image = tmp_path / "lib.img"
    before: dict[str, bytes | None] = {"A": OLD, "S": None} if operation == "saveseg" else {"A": OLD}
    after: dict[str, bytes | None] = {"A": NEW}

    system = unique_system("count")
    prepare(system, operation, image)
    status, steps = run(system, operation, image, -1)
    assert status == 0
    assert state(system) == after
    counts = {name: steps.count(name) for name in FLOOR[operation]}
    assert all(counts[name] >= floor for name, floor in FLOOR[operation].items()), counts
    commit = [place for place, name in enumerate(steps) if name == "rename"][1]  # that of the manifest

    for countdown, step in enumerate(steps):
        system = unique_system("killed")
        prepare(system, operation, image)
        status, done = run(system, operation, image, countdown)
        assert (status, done) == (-signal.SIGKILL, steps[: countdown + 1])
        assert state(system) == (after if countdown > commit else before), f"killed at {step}, the {countdown}th step"
