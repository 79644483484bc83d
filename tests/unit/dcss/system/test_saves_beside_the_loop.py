"""CP serves its guests and clients while a segment is saved: what they see meanwhile, and what becomes of the save."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cp_support import control_program, define, filler
from loop_support import in_event_loop

from dcss.cp.operations import export, import_image, save_image
from dcss.cp.program import ControlProgram
from dcss.errors import DcssError, SpoolError
from dcss.host.aio import TaskSet
from dcss.system.steps import run_steps

WAIT_SECONDS = 10.0


class Desk:
    """A CP with saves under way; `save` holds its copy until `go_on`."""

    def __init__(self, cp: ControlProgram) -> None:
        self.cp = cp
        self.tasks = TaskSet()
        self.answers: dict[str, Any] = {}
        self.copying = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._go_on = threading.Event()

    def held(self, descriptor: int) -> None:
        os.pwrite(descriptor, b"new", 0)
        self._loop.call_soon_threadsafe(self.copying.set)
        assert self._go_on.wait(WAIT_SECONDS)

    def ask(self, name: str, steps: Any) -> None:
        async def answer() -> None:
            try:
                self.answers[name] = await run_steps(steps)
            except DcssError as error:
                self.answers[name] = error

        self.tasks.start(answer(), name)

    async def command(self, line: str) -> None:
        self.ask(line, self.cp.execute_steps(line))
        await asyncio.sleep(0.01)

    async def save(self) -> None:
        """Begin a save of LIB, whose copy is under way when this returns."""
        self.ask("save", save_image(self.cp, "LIB", self.held))
        await self.copying.wait()

    def go_on(self) -> None:
        self._go_on.set()

    async def wait_for(self, *names: str) -> None:
        while not set(names) <= set(self.answers):
            await asyncio.sleep(0.005)

    def classes(self) -> dict[int, str]:
        return {spid: str(file.file_class) for spid, file in self.cp.files.items()}

    def spooled(self) -> list[str]:
        return sorted(path.name for path in Path(os.environ["XDG_STATE_HOME"], "dcss", self.cp.system).iterdir())


@asynccontextmanager
async def desk_with_lib() -> AsyncIterator[Desk]:
    with control_program() as cp:
        cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"old"))
        cp.execute("DEFSEG LIB 20000-2000F SR")
        desk = Desk(cp)
        try:
            yield desk
        finally:
            desk.go_on()
            await desk.tasks.close()


@in_event_loop
async def test_the_old_version_is_served_until_the_new_one_is_whole() -> None:
    """FACTS 1.2: one available file per name; who has the older one keeps it."""
    async with desk_with_lib() as desk:
        await desk.save()
        await desk.command("QUERY NSS NAME LIB MAP")
        assert [row["class"] for row in desk.answers["QUERY NSS NAME LIB MAP"].data] == ["A", "S"]
        assert bytes(desk.cp.open(define("LIB", "1-1 SR").name).object.buffer[:3]) == b"old"
        assert desk.spooled() == ["0001.content", "0001.manifest", "0002.content.new", "0002.manifest"]
        desk.go_on()
        await desk.wait_for("save")
        assert desk.answers["save"].lines == ("HCPNSS440I Saved segment LIB was successfully saved in fileid 0002.",)
        assert desk.classes() == {2: "A"}
        assert bytes(desk.cp.open(define("LIB", "1-1 SR").name).object.buffer[:3]) == b"new"


@in_event_loop
async def test_a_second_definition_save_import_or_export_waits(tmp_path: Path) -> None:
    """FACTS 1.1: only one DEFSEG or SAVESEG runs at a time system-wide; a second waits."""
    async with desk_with_lib() as desk:
        image = tmp_path / "image"
        image.write_bytes(b"imported")
        await desk.save()
        for line in ("DEFSEG TWO 30000-3000F SR", "SAVESEG TWO"):
            await desk.command(line)
        desk.ask("import", import_image(desk.cp, image, define("THREE", "40000-4000F SR"), None))
        desk.ask("export", export(desk.cp, "LIB", tmp_path / "exported"))
        for _ in range(3):
            await asyncio.sleep(0.05)
        assert desk.answers == {}
        assert desk.classes() == {1: "A", 2: "S"}
        desk.go_on()
        await desk.wait_for("save", "DEFSEG TWO 30000-3000F SR", "SAVESEG TWO", "import", "export")
        assert list(desk.answers) == ["save", "DEFSEG TWO 30000-3000F SR", "SAVESEG TWO", "import", "export"]
        assert all(answer.return_code == 0 for answer in desk.answers.values())
        assert desk.classes() == {2: "A", 3: "A", 4: "A"}
        assert (tmp_path / "exported").read_bytes()[:3] == b"new"


@in_event_loop
async def test_purge_interrupts_a_save() -> None:
    """FACTS 1.2: no half-saved file remains, the skeleton is purged and must be redefined."""
    async with desk_with_lib() as desk:
        await desk.save()
        await desk.command("PURGE NSS NAME LIB")
        assert desk.answers["PURGE NSS NAME LIB"].lines == ("0002 FILES PURGED",)
        assert desk.classes() == {}
        desk.go_on()
        await desk.wait_for("save")
        assert (desk.answers["save"].return_code, *desk.answers["save"].lines) == (
            9010,
            "HCPDCS9010E Saved segment LIB was purged while it was being saved; nothing was saved, DEFSEG it again",
        )
        assert desk.classes() == {}
        assert desk.spooled() == []
        await desk.command("SAVESEG LIB")
        assert desk.answers["SAVESEG LIB"].return_code == 9002
        await desk.command("DEFSEG LIB 20000-2000F SR")
        assert desk.answers["DEFSEG LIB 20000-2000F SR"].return_code == 0


@in_event_loop
async def test_the_older_version_may_go_while_the_new_one_is_saved() -> None:
    async with desk_with_lib() as desk:
        await desk.save()
        await desk.command("PURGE NSS 0001")
        desk.go_on()
        await desk.wait_for("save")
        assert desk.answers["save"].return_code == 0
        assert desk.classes() == {2: "A"}


@in_event_loop
async def test_a_save_that_fails_changes_nothing_and_lets_the_next_one_go_on() -> None:
    async with desk_with_lib() as desk:

        def fails(descriptor: int) -> None:
            desk.held(descriptor)
            raise OSError(5, "Input/output error")

        desk.ask("fails", save_image(desk.cp, "LIB", fails))
        desk.ask("next", save_image(desk.cp, "LIB", filler(b"next")))
        await desk.copying.wait()
        desk.go_on()
        await desk.wait_for("fails", "next")
        assert isinstance(desk.answers["fails"], SpoolError)
        assert desk.answers["next"].return_code == 0
        assert desk.spooled() == ["0002.content", "0002.manifest"]


@in_event_loop
async def test_where_no_thread_can_be_had_nothing_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk_with_lib() as desk:

        def refused(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            desk.ask("save", save_image(desk.cp, "LIB", filler(b"new")))
            await desk.wait_for("save")
        assert "can't start new thread" in str(desk.answers["save"])
        assert desk.classes() == {1: "A", 2: "S"}


@in_event_loop
async def test_what_is_under_way_when_cp_ends_is_given_up() -> None:
    async with desk_with_lib() as desk:
        await desk.save()
        await desk.command("DEFSEG TWO 30000-3000F SR")
        threading.Timer(0.1, desk.go_on).start()
        await desk.tasks.close()
        assert desk.answers == {}
        assert desk.classes() == {1: "A", 2: "S"}
        assert desk.spooled() == ["0001.content", "0001.manifest", "0002.manifest"]
        assert desk.cp.execute("SAVESEG LIB").return_code == 9007  # nobody's turn, and the old content is there
