"""Real systems by the real command line, in directories of their own, as this user or as one without privileges."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, BinaryIO

from wait_support import LIMIT_SECONDS, wait_until

from dcss.documents import from_document
from dcss.results import GuestStatus
from dcss.rpc.statistics import StatisticsReader, status_of

NOBODY = 65534
SOURCE = str(Path(__file__).resolve().parents[2])
SHARED_MEMORY = Path("/dev/shm")
TIMEOUT_SECONDS = 300  # no command takes a hundredth of that where nothing else runs
SWEEP_SECONDS = 10.0

GUEST = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
MAP = 'run: [{map: "/usr/lib/**/*.so*"}]'
# Guests that take long to start, and one that is not ready before it is ended: a test may be late on a busy machine.
BUSY = (
    f"name: G, count: 30, boot: full, {GUEST}, run: [{', '.join(['{map: /usr/lib/**/*.so*}'] * 100)}]",
    f"name: SLOW, {GUEST}, run: [{{exec: 'sleep 600'}}]",
)


class Dcss:
    """A user with directories of its own, by which all that it started is found."""

    def __init__(self, home: Path, *, uid: int | None = None) -> None:
        self.home = home
        self.runtime = home / "run"
        self.uid = uid
        self._python, path = (sys.executable, own_path()) if uid is None else others_python() or ("", "")
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_STATE_HOME": str(home / "state"),
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.runtime.mkdir(mode=0o700)
        make_libraries(home / "tree")
        if uid is not None:
            for each in (home, *home.rglob("*")):
                os.chown(each, uid, uid, follow_symlinks=False)
        # Names differ for tests that run side by side.
        self.system = f"t{os.getpid()}-{home.name.lower()[-16:].replace('_', '-')}"

    @property
    def directory(self) -> Path:
        """The system's runtime directory."""
        return self.runtime / "dcss" / self.system

    def config(self, *guests: str, name: str = "", segment: str = "", path: str = "system.yaml") -> Path:
        """Write a YAML with a segment of small libraries; guests are flow mappings without their braces."""
        lines = [f"system: {name or self.system}", "segments:"]
        lines.append(segment or "  - {name: LIB, at: 0x20000000, image: {directory: tree}}")
        lines.append("guests:")
        lines += [f"  - {{{guest}}}" for guest in guests]
        (self.home / path).write_text("\n".join(lines) + "\n")
        return self.home / path

    def guests(self, count: int, more: str = "") -> Path:
        """Write a YAML with G01 … that map every library."""
        return self.config(f"name: G, count: {count}, {GUEST}, {MAP}{more}")

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the words that run a command."""
        return [self._python, "-m", "dcss", *map(str, arguments)]

    def start(self, *arguments: str | Path, prefix: Sequence[str] = (), **options: Any) -> "subprocess.Popen[str]":
        """Start a command."""
        settings = {"env": self.environment, "text": True, **self.identity}
        return subprocess.Popen([*prefix, *self.command(*arguments)], cwd=self.home, **(settings | options))

    @property
    def identity(self) -> dict[str, Any]:
        """Return what subprocess needs to start a process as this user."""
        return {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def own(self, *paths: Path) -> None:
        """Give this user files that the test has written."""
        if self.uid is not None:
            for path in paths:
                os.chown(path, self.uid, self.uid)

    def become(self) -> None:
        """Become this user, in a process that was just forked."""
        if self.uid is not None:
            os.setgroups([])
            os.setgid(self.uid)
            os.setuid(self.uid)

    def __call__(
        self, *arguments: str | Path, status: int | None = 0, timeout_seconds: float = TIMEOUT_SECONDS, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command and check its exit status."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(*arguments, **(streams | options)) as process:
            try:
                out, err = process.communicate(timeout=timeout_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
        assert status is None or done.returncode == status, (arguments, done.returncode, out, err)
        return done

    def json(self, *arguments: str | Path, status: int | None = 0, timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
        """Run a command with --json and return its document."""
        words = list(arguments)
        words.insert(words.index("--") if "--" in words else len(words), "--json")
        return json.loads(self(*words, status=status, timeout_seconds=timeout_seconds).stdout)

    def ps(self) -> dict[str, Any]:
        """Return the system's document."""
        document: dict[str, Any]
        (document,) = self.json("ps", self.system)["systems"]
        return document

    def guest_statuses(self) -> tuple[GuestStatus, ...]:
        """Return each guest's status from the statistics that CP writes: no command starts for it, as for `ps`.

        Those of another user, which this process does not trust, are asked for by the command.
        """
        if self.uid is not None:
            return tuple(from_document(GuestStatus, guest) for guest in self.ps()["guests"])
        cp_pid = int((self.directory / "pid").read_text("ascii"))
        with StatisticsReader(self.system, cp_pid) as reader:
            return status_of(reader.read(), self.directory).guests

    def states(self) -> dict[str, str]:
        """Return each guest's state."""
        return {guest.name: guest.state for guest in self.guest_statuses()}

    def pid_of(self, guest: str) -> int:
        """Return a living guest's process."""
        (pid,) = [each.pid for each in self.guest_statuses() if each.name == guest]
        assert pid is not None
        return pid

    def wait_for(self, guest: str, state: str, seconds: float = LIMIT_SECONDS, *, not_pid: int | None = None) -> None:
        """Wait until a guest is in a state, and, with `not_pid`, in another process than that."""
        wait_until(
            lambda: any(
                each.name == guest and each.state == state and (not_pid is None or each.pid != not_pid)
                for each in self.guest_statuses()
            ),
            self.states,
            seconds=seconds,
        )

    def processes(self, runtime: Path | None = None) -> dict[int, str]:
        """Return the living processes of this user's systems and commands, by id, with their names.

        With `runtime`, those that have another runtime directory.
        """
        return {pid: name for pid, name, found in self.own_processes() if found == str(runtime or self.runtime)}

    def own_processes(self) -> Iterator[tuple[int, str, str]]:
        """Yield id, name and runtime directory of each living process that has that directory in this home."""
        mark = f"XDG_RUNTIME_DIR={self.home}/".encode()
        for path in Path("/proc").iterdir():
            if not path.name.isdigit() or int(path.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                for variable in (path / "environ").read_bytes().split(b"\0"):
                    if variable.startswith(mark):
                        name = (path / "comm").read_text().strip()
                        yield int(path.name), name, os.fsdecode(variable.partition(b"=")[2])

    def objects(self) -> list[str]:
        """Return what its systems have in /dev/shm; their names begin with the system's."""
        return sorted(path.name for path in SHARED_MEMORY.glob(f"dcss.{self.system}*"))

    def segment_objects(self) -> list[str]:
        """Return the segments that its systems have in /dev/shm."""
        return [name for name in self.objects() if not name.endswith(".stats")]

    def left(self) -> list[str]:
        """Return everything of its systems that there is: processes, objects, files."""
        files = [str(path) for path in (self.runtime / "dcss").rglob("*")] if self.runtime.exists() else []
        return [f"{pid} {name}" for pid, name in self.processes().items()] + self.objects() + files

    def assert_nothing_left(self, seconds: float = LIMIT_SECONDS) -> None:
        """Wait for what is about to end; fail where something stays."""
        wait_until(lambda: not self.left(), self.left, seconds=seconds)

    def sweep(self) -> None:
        """Kill and remove everything, also of hosts in this home, so that a failed test does not disturb others."""
        end = time.monotonic() + SWEEP_SECONDS
        # Until nothing is left that starts more.
        while (pids := [pid for pid, _, _ in self.own_processes()]) and time.monotonic() < end:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for name in [*self.objects(), *self._objects_of_hosts()]:
            (SHARED_MEMORY / name).unlink(missing_ok=True)

    def _objects_of_hosts(self) -> Iterator[str]:
        """Yield what systems of any name have in /dev/shm whose runtime directories are in this home."""
        for log in self.home.rglob("cp.log"):
            yield from (path.name for path in SHARED_MEMORY.glob(f"dcss.{log.parent.name}.*"))


def raw(stream: "IO[str] | None") -> BinaryIO:
    """Return the bytes below a child's text stream."""
    assert isinstance(stream, TextIOWrapper)
    buffer: BinaryIO = stream.buffer
    return buffer


def own_path() -> str:
    """Return this source's PYTHONPATH, before what the tests themselves were given."""
    return os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH"))))


def make_libraries(root: Path) -> None:
    """Make a tree of 20 files that look like libraries: 1.2 MiB."""
    library = root / "usr/lib"
    library.mkdir(parents=True)
    for number in range(20):
        page = bytes((number + 1, *range(1, 256))) * 16
        (library / f"lib{number:02d}.so").write_bytes(b"".join(page[i:] + page[:i] for i in range(15)))


@contextlib.contextmanager
def made_user(*, uid: int | None = None) -> Iterator[Dcss]:
    """Make a user's directories, and remove them and all that runs in them."""
    home = Path(tempfile.mkdtemp(prefix="dcss-"))  # not pytest's, which others may not enter
    user = Dcss(home, uid=uid)
    try:
        yield user
    finally:
        user.sweep()
        shutil.rmtree(home, ignore_errors=True)


@cache
def others_python() -> tuple[str, str] | None:
    """Return an interpreter and a PYTHONPATH that a user without privileges can run this source with, or None.

    The tests' own interpreter may lie where only root may go; then the system's serves, if it is the same version.
    """
    if os.geteuid() != 0:
        return None
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for executable, path in ((sys.executable, SOURCE), (system, f"{SOURCE}:{sysconfig.get_path('purelib')}")):
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [executable, "-c", "import dcss.system.up, numpy, click"],
                cwd="/",
                env={**os.environ, "PYTHONPATH": path},
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return executable, path
    return None
