"""CP serves its guests and clients while it copies: what they see meanwhile, and what becomes of the copy."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from cp_support import define, descriptor_of, filler, objects_of, private_directories, unique_system

from dcss.abi.extmem import SegmentName
from dcss.abi.hypercall import Reply, Request
from dcss.cp.program import ControlProgram
from dcss.cp.requests import ALL_FILES, ConsoleCommand, Export, FileSelection, Import, OperatorRequest, Purge, Save
from dcss.cp.segments import objects as objects_module
from dcss.cp.segments.shm import SharedObject
from dcss.errors import SpoolError

LIMIT_SECONDS = 60.0  # what takes longer hangs
LOADSHRX, PURGESEG = 0x20, 0x08
LIB = SegmentName("LIB")
DEFINITION = define("LIB", "20000-2000F SR")


class Held:
    """A fill that stops in the middle until `go_on`; `calls` counts how often it was called."""

    def __init__(self, content: bytes = b"new", *, first_call: int = 1) -> None:
        self.calls = 0
        self.error: OSError | None = None
        self._content, self._first_call = content, first_call
        self._copying, self._go_on = threading.Event(), threading.Event()

    def __call__(self, write_fd: int) -> None:
        self.calls += 1
        if self.calls >= self._first_call:
            self._copying.set()
            assert self._go_on.wait(LIMIT_SECONDS)
        if self.error is not None:
            raise self.error
        os.pwrite(write_fd, self._content, 0)

    async def wait_copying(self) -> None:
        """Return once the copy has begun."""
        while not self._copying.is_set():
            await asyncio.sleep(0.001)

    def go_on(self) -> None:
        self._go_on.set()


class Desk:
    """A CP with requests under way, and their answers in the order in which they came."""

    def __init__(self) -> None:
        self.cp = ControlProgram(unique_system())
        self.held = Held()
        self.answers: dict[str, Any] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def ask(self, name: str, operation: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        async def answer() -> None:
            try:
                self.answers[name] = await operation
            except OSError as error:
                self.answers[name] = error

        self.tasks.append(asyncio.create_task(answer()))
        return self.tasks[-1]

    def perform(self, name: str, request: OperatorRequest) -> asyncio.Task[None]:
        return self.ask(name, self.cp.perform(request))

    def command(self, line: str) -> asyncio.Task[None]:
        return self.perform(line, ConsoleCommand(line))

    async def save(self) -> asyncio.Task[None]:
        """Begin a save of LIB, whose copy is under way when this returns."""
        task = self.perform("save", Save(LIB, self.held))
        await self.held.wait_copying()
        return task

    async def diag(self, guest: str, subcode: int, name: str = "LIB") -> Reply:
        return await self.cp.handle(guest, Request(0x64, 0x1000, subcode, name.ljust(8).encode("cp037")))

    async def finish(self) -> None:
        self.held.go_on()
        await asyncio.gather(*self.tasks)

    def classes(self) -> dict[int, str]:
        return {spid: str(file.file_class) for spid, file in self.cp.files.items()}

    def spooled(self) -> list[str]:
        return sorted(path.name for path in Path(os.environ["XDG_STATE_HOME"], "dcss", self.cp.system).iterdir())

    async def content(self) -> bytes:
        return bytes((await self.cp.open(LIB)).object.buffer[:3])


Scenario = Callable[[Desk], Coroutine[Any, Any, None]]


@pytest.fixture
def run() -> Iterator[Callable[[Scenario], None]]:
    """Run a scenario with a CP that has LIB saved, and a skeleton of it."""

    async def begin(scenario: Scenario) -> None:
        desk = Desk()
        with desk.cp as cp:
            await cp.saved.store(DEFINITION, filler(b"old"))
            await cp.execute("DEFSEG LIB 20000-2000F SR")
            for guest in "AB":
                cp.register(guest, storage_bytes=0)
            async with asyncio.timeout(LIMIT_SECONDS):
                try:
                    await scenario(desk)
                finally:
                    await desk.finish()
        assert objects_of(cp.system) == []

    with private_directories():
        yield lambda scenario: asyncio.run(begin(scenario))


async def settle() -> None:
    """Let everything go on that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_old_version_is_served_until_the_new_one_is_whole(run: Callable[[Scenario], None]) -> None:
    """FACTS 1.2: one available file per name; who has the older one keeps it."""

    async def scenario(desk: Desk) -> None:
        await desk.save()
        found = await desk.cp.execute("QUERY NSS NAME LIB MAP")
        assert [row["class"] for row in found.data or []] == ["A", "S"]
        assert await desk.content() == b"old"
        assert desk.spooled() == ["0001.content", "0001.manifest", "0002.content.new", "0002.manifest"]
        await desk.finish()
        assert desk.answers["save"].lines == ("HCPNSS440I Saved segment LIB was successfully saved in fileid 0002.",)
        assert desk.classes() == {2: "A"}
        assert await desk.content() == b"new"

    run(scenario)


def test_a_second_definition_save_import_or_export_waits(run: Callable[[Scenario], None], tmp_path: Path) -> None:
    """FACTS 1.1: only one DEFSEG or SAVESEG runs at a time system-wide; a second waits."""
    image = tmp_path / "image"
    image.write_bytes(b"imported")

    async def scenario(desk: Desk) -> None:
        await desk.save()
        for line in ("DEFSEG TWO 30000-3000F SR", "SAVESEG TWO"):
            desk.command(line)
        desk.perform("import", Import(image, define("THREE", "40000-4000F SR")))
        while len(desk.cp.saved.exclusive._waiters or ()) < 3:  # it looks at the image's size first, in a thread
            await asyncio.sleep(0.001)
        desk.perform("export", Export((LIB,), tmp_path / "exported"))
        desk.ask("publish", desk.cp.publish(define("FOUR", "50000-5000F SR"), filler(b"4")))
        await settle()
        assert desk.answers == {}
        assert desk.classes() == {1: "A", 2: "S"}
        await desk.finish()
        assert list(desk.answers) == ["save", "DEFSEG TWO 30000-3000F SR", "SAVESEG TWO", "import", "export", "publish"]
        answers = [answer for name, answer in desk.answers.items() if name != "publish"]
        assert all(answer.return_code == 0 for answer in answers)
        assert desk.classes() == {2: "A", 3: "A", 4: "A", 5: "A"}
        assert (tmp_path / "exported").read_bytes()[:3] == b"new"

    run(scenario)


def test_purge_interrupts_a_save(run: Callable[[Scenario], None]) -> None:
    """FACTS 1.2: no half-saved file remains, the skeleton is purged and must be redefined."""

    async def scenario(desk: Desk) -> None:
        await desk.save()
        assert (await desk.cp.execute("PURGE NSS NAME LIB")).lines == ("0002 FILES PURGED",)
        assert desk.classes() == {}
        await desk.finish()
        assert (desk.answers["save"].return_code, *desk.answers["save"].lines) == (
            9010,
            "HCPDCS9010E Saved segment LIB was purged while it was being saved; nothing was saved, DEFSEG it again",
        )
        assert desk.classes() == {}
        assert desk.spooled() == []
        assert (await desk.cp.execute("SAVESEG LIB")).return_code == 9002
        assert (await desk.cp.execute("DEFSEG LIB 20000-2000F SR")).return_code == 0

    run(scenario)


def test_the_older_version_may_go_while_the_new_one_is_saved(run: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.save()
        assert (await desk.cp.perform(Purge(FileSelection(number="0001")))).return_code == 0
        await desk.finish()
        assert desk.answers["save"].return_code == 0
        assert desk.classes() == {2: "A"}

    run(scenario)


def test_purges_saves_and_definitions_at_once_leave_the_spool_consistent(run: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk) -> None:
        desk.held.go_on()
        for number in range(8):
            desk.perform(f"save {number}", Save(LIB, filler(b"%d" % number)))
            desk.perform(f"purge {number}", Purge(FileSelection(name=LIB)))
            desk.command(f"DEFSEG LIB 20000-2000F SR {'SECURE' if number % 2 else ''}")
        await desk.finish()
        kept = {f"{spid:04d}.manifest" for spid in desk.cp.files}
        kept |= {f"{spid:04d}.content" for spid, file in desk.cp.files.items() if file.saved_digest is not None}
        assert set(desk.spooled()) == kept
        await desk.cp.perform(Purge(ALL_FILES))
        assert (desk.classes(), desk.spooled()) == ({}, [])

    run(scenario)


def test_a_save_that_fails_changes_nothing_and_lets_the_next_one_go_on(run: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk) -> None:
        desk.held.error = OSError(5, "Input/output error")
        await desk.save()
        desk.perform("next", Save(LIB, filler(b"next")))
        await desk.finish()
        assert isinstance(desk.answers["save"], SpoolError)
        assert desk.answers["next"].return_code == 0
        assert desk.spooled() == ["0002.content", "0002.manifest"]

    run(scenario)


def test_without_a_thread_nothing_is_saved(run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario(desk: Desk) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())  # one that has no thread yet
        desk.held.go_on()
        monkeypatch.setattr(threading.Thread, "start", refused)
        with pytest.raises(SpoolError, match=r"nothing was copied: can't start new thread; .* ulimit -u and pids.max"):
            await desk.cp.perform(Save(LIB, desk.held))
        monkeypatch.undo()
        assert desk.classes() == {1: "A", 2: "S"}
        assert await desk.content() == b"old"
        assert desk.held.calls == 0

    run(scenario)


def test_a_save_that_is_cancelled_leaves_nothing_once_its_copy_has_ended(run: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk) -> None:
        saving, waiting = await desk.save(), desk.command("DEFSEG TWO 30000-3000F SR")
        await settle()
        waiting.cancel()
        saving.cancel()
        await settle()
        assert not saving.done()
        saving.cancel()  # once more, as the end of an event loop does
        desk.held.go_on()
        assert await asyncio.gather(saving, waiting, return_exceptions=True) == [ANY, ANY]
        desk.tasks.clear()
        assert desk.answers == {}
        assert desk.classes() == {1: "A", 2: "S"}
        assert desk.spooled() == ["0001.content", "0001.manifest", "0002.manifest"]
        assert (await desk.cp.execute("SAVESEG LIB")).return_code == 9007  # nothing is under way

    run(scenario)


def test_an_event_loop_that_ends_during_a_save_leaves_nothing() -> None:
    held = Held()

    async def interrupted(system: str) -> None:
        with ControlProgram(system) as cp:
            await cp.saved.define(DEFINITION)
            saving = asyncio.create_task(cp.perform(Save(LIB, held)))
            await held.wait_copying()
            asyncio.get_running_loop().call_later(0.05, held.go_on)
            try:
                raise KeyboardInterrupt
            finally:
                saving.cancel()
                await asyncio.gather(saving, return_exceptions=True)

    with private_directories() as directory:
        system = unique_system()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(interrupted(system))
        spool = directory / "xdg_state_home/dcss" / system
        assert [path.name for path in spool.iterdir()] == ["0001.manifest"]
        assert objects_of(system) == []


def read_through(desk: Desk, held: Held) -> None:
    """Have the saved segment LIB read its content through `held` when it is brought into storage."""
    segment = desk.cp.available[LIB]
    content = segment.fill
    assert content is not None

    def fill(write_fd: int) -> None:
        content(write_fd)
        held(write_fd)

    segment.fill = fill


def test_guests_that_load_a_segment_at_once_share_one_copy(run: Callable[[Scenario], None]) -> None:
    held = Held(b"old")

    async def scenario(desk: Desk) -> None:
        read_through(desk, held)
        for guest in "AB":
            desk.ask(guest, desk.diag(guest, LOADSHRX))
        await held.wait_copying()
        assert (await desk.cp.execute("QUERY NSS NAME LIB USERS")).return_code == 0
        await settle()
        assert desk.answers == {}
        assert len(objects_of(desk.cp.system)) == 1
        held.go_on()
        await desk.finish()
        assert held.calls == 1
        inodes = {os.fstat(descriptor_of(desk.answers[guest])).st_ino for guest in "AB"}
        assert len(inodes) == 1
        assert desk.cp.users("LIB") == 2

    run(scenario)


def test_a_segment_purged_while_it_is_brought_in_is_not_loaded(run: Callable[[Scenario], None]) -> None:
    held = Held(b"old")

    async def scenario(desk: Desk) -> None:
        read_through(desk, held)
        for guest in "AB":
            desk.ask(guest, desk.diag(guest, LOADSHRX))
        await held.wait_copying()
        assert (await desk.cp.execute("PURGE NSS NAME LIB")).lines == ("0002 FILES PURGED",)
        held.go_on()
        await desk.finish()
        assert [desk.answers[guest][:3] for guest in "AB"] == [(2, 0x1000, 44)] * 2
        assert held.calls == 1
        assert (desk.classes(), objects_of(desk.cp.system)) == ({}, [])

    run(scenario)


def test_a_load_that_finds_no_content_waits_for_the_purge_that_is_under_way(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    removed, go_on = threading.Event(), threading.Event()

    async def scenario(desk: Desk) -> None:
        spool = desk.cp.saved._spool
        remove = spool.remove

        def remove_slowly(spid: int) -> None:
            remove(spid)
            removed.set()
            assert go_on.wait(LIMIT_SECONDS)

        monkeypatch.setattr(spool, "remove", remove_slowly)
        purging = asyncio.create_task(desk.cp.execute("PURGE NSS NAME LIB"))
        while not removed.is_set():
            await asyncio.sleep(0.001)
        desk.ask("A", desk.diag("A", LOADSHRX))
        while not desk.cp.available[LIB].lock.locked() and not desk.answers:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(lambda: None)  # the load's own copy has been asked for before this
        assert not desk.answers
        go_on.set()
        await purging
        await desk.finish()
        assert desk.answers["A"][:3] == (2, 0x1000, 44)

    run(scenario)


def test_a_segment_replaced_while_it_is_brought_in_is_loaded_in_its_new_version(
    run: Callable[[Scenario], None],
) -> None:
    held = Held(b"old")

    async def scenario(desk: Desk) -> None:
        read_through(desk, held)
        desk.ask("A", desk.diag("A", LOADSHRX))
        await held.wait_copying()
        await desk.cp.perform(Save(LIB, filler(b"new")))
        held.go_on()
        await desk.finish()
        assert os.pread(descriptor_of(desk.answers["A"]), 3, 0) == b"new"
        assert desk.classes() == {2: "A"}
        assert len(objects_of(desk.cp.system)) == 1

    run(scenario)


def test_a_guest_that_ends_while_it_loads_uses_nothing(run: Callable[[Scenario], None]) -> None:
    held = Held(b"old")

    async def scenario(desk: Desk) -> None:
        read_through(desk, held)
        desk.ask("A", desk.diag("A", LOADSHRX))
        await held.wait_copying()
        desk.cp.release("A")
        desk.cp.register("A", storage_bytes=0)
        held.go_on()
        await desk.finish()
        assert desk.answers["A"].condition_code == 2
        assert (desk.cp.users("LIB"), desk.cp.loaded("A")) == (0, {})

    run(scenario)


def test_a_load_that_is_cancelled_leaves_nothing_in_storage(run: Callable[[Scenario], None]) -> None:
    held = Held(b"old")

    async def scenario(desk: Desk) -> None:
        read_through(desk, held)
        loading = desk.ask("A", desk.diag("A", LOADSHRX))
        await held.wait_copying()
        loading.cancel()
        held.go_on()
        await asyncio.gather(loading, return_exceptions=True)
        desk.tasks.clear()
        assert (desk.cp.users("LIB"), objects_of(desk.cp.system)) == (0, [])
        assert (await desk.diag("B", LOADSHRX)).condition_code == 0

    run(scenario)


def test_a_segment_that_users_wrote_to_is_renewed_beside_others(run: Callable[[Scenario], None]) -> None:
    held = Held(b"as saved", first_call=2)

    async def scenario(desk: Desk) -> None:
        await desk.cp.publish(define("DISK", "30000-3000F SW"), held)
        first = await desk.diag("A", LOADSHRX, "DISK")
        os.pwrite(descriptor_of(first), b"written!", 0)
        await desk.diag("A", PURGESEG, "DISK")
        desk.ask("B", desk.diag("B", LOADSHRX, "DISK"))
        await held.wait_copying()
        assert (await desk.cp.execute("QUERY NSS NAME DISK USERS")).return_code == 0
        held.go_on()
        await desk.finish()
        assert os.pread(descriptor_of(desk.answers["B"]), 8, 0) == b"as saved"

    run(scenario)


def test_a_large_segment_is_freed_beside_others(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    freeing, go_on = threading.Event(), threading.Event()
    real_close = SharedObject.close

    def close(stored: SharedObject) -> None:
        freeing.set()
        assert go_on.wait(LIMIT_SECONDS)
        real_close(stored)

    async def scenario(desk: Desk) -> None:
        await desk.cp.open(LIB)
        monkeypatch.setattr(objects_module, "SMALL_BYTES", 0)
        monkeypatch.setattr(SharedObject, "close", close)
        assert (await desk.cp.execute("PURGE NSS NAME LIB")).lines == ("0002 FILES PURGED",)
        assert freeing.wait(LIMIT_SECONDS)
        assert objects_of(desk.cp.system) == []
        assert (await desk.cp.execute("QUERY NSS")).lines == ("NO NSS FILES",)
        go_on.set()

    run(scenario)
