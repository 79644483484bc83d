"""Small real systems: plans made in the test, images by mke2fs, guests from a real fork server."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from tree_support import make_tree, mke2fs
from wait_support import LIMIT_SECONDS, wait_until

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName, SegmentType
from dcss.config.plan import GuestPlan, MountPlan, ProcessSettings, SegmentPlan, Step, SystemPlan
from dcss.config.sources import Ext2Source
from dcss.cp.program import ControlProgram
from dcss.progress import SilentProgress
from dcss.system.instance import GuestInstance
from dcss.system.system import System

SYSTEM = f"test{os.getpid()}"  # other runs of the tests may go on beside this one
IN_PLACE = ("ro", "xip")
COPIED = ("ro",)
Result = TypeVar("Result")


def segment(tmp_path: Path, name: str = "LIB") -> SegmentPlan:
    """Return the plan of an 8 MiB segment with the small tree of tree_support."""
    if not (tmp_path / "image").exists():
        make_tree(tmp_path / "tree")
        mke2fs(tmp_path / "tree", tmp_path / "image")
    return SegmentPlan(
        name=name,
        definition=SegmentDefinition(SegmentName(name), (PageRange.parse("20000-207FF SR"),)),
        start_address=0x20000000,
        type=SegmentType.SR,
        size_bytes=None,
        image=Ext2Source(tmp_path / "image"),
        save=False,
        where="test.yaml:1",
    )


def guest(name: str, *steps: tuple[str, str], options: tuple[str, ...] = IN_PLACE, **changes: object) -> GuestPlan:
    """Return the plan of a guest that mounts LIB at / and runs steps of verb and argument."""
    fields: dict[str, object] = {
        "name": name,
        "settings": ProcessSettings(),
        "storage_bytes": 64 << 20,
        "dcssblk": ("LIB",),
        "mounts": (MountPlan("dcssblk0", "/", options),),
        "expect": "shared" if "xip" in options else "copies",
        "run": tuple(Step(verb, argument) for verb, argument in steps),  # type: ignore[arg-type]
        "where": "test.yaml:2",
    }
    return GuestPlan(**(fields | changes))  # type: ignore[arg-type]


def system_plan(tmp_path: Path, *guests: GuestPlan, name: str = SYSTEM) -> SystemPlan:
    """Return a plan with the segment LIB and these guests."""
    return SystemPlan(name, (segment(tmp_path),), guests, tmp_path / "test.yaml")


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_gone(*pids: int) -> None:
    """Wait until no process of `pids` runs; fail the test where one still does."""
    wait_until(lambda: not any(map(alive, pids)), lambda: f"still running: {[pid for pid in pids if alive(pid)]}")


def objects(system: str) -> list[str]:
    """Return what a system has in /dev/shm."""
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"dcss.{system}.")]  # noqa: PTH208


def segment_objects(system: str) -> list[str]:
    """Return the segments that a system has in /dev/shm."""
    return [name for name in objects(system) if not name.endswith(".stats")]


class RunningSystem:
    """A real system for tests that are no coroutines: its event loop runs while one of the calls here does."""

    def __init__(self, plan: SystemPlan) -> None:
        self.system = System(plan, SilentProgress())
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        try:
            self.run(self.system.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self.system.__aexit__(None, None, None))
        finally:
            self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine of the system to its end, and everything else that waits meanwhile."""
        return self._runner.run(coroutine)

    def bring_up(self) -> None:
        """Publish, launch, and wait for every guest."""
        self.publish()
        self.launch()
        self.wait()

    def publish(self) -> None:
        """Publish the segments."""
        self.run(self.system.publish())

    def launch(self) -> None:
        """Start the guests."""

        async def launch() -> None:
            self.system.launch()

        self.run(launch())

    def wait(self) -> None:
        """Wait until each guest has settled."""
        self.run(self.system.wait())

    def serve_until(self, condition: Callable[[], object], seconds: float = LIMIT_SECONDS) -> None:
        """Serve until a condition holds; fail the test where that takes too long, or raise what ends the system."""

        async def wait() -> None:
            serving = asyncio.ensure_future(self.system.serve())
            end = time.monotonic() + seconds
            while not condition():
                assert time.monotonic() < end, "it did not happen"
                await asyncio.wait([serving], timeout=0.01)
                if serving.done():
                    serving.result()
            serving.cancel()

        self.run(wait())

    @property
    def cp(self) -> ControlProgram:
        """The system's CP."""
        return self.system.cp

    @property
    def guests(self) -> Mapping[str, GuestInstance]:
        """The last start of each guest."""
        return self.system.guests

    @property
    def fork_server_pid(self) -> int:
        """The fork server's process."""
        (pid,) = self.system.engines["process"].pids
        return pid

    def pid_of(self, guest: str) -> int:
        """Return a living guest's process."""
        (pid,) = self.guests[guest].pids
        return pid
