"""CP serves its guests and clients while a segment is saved: what they see meanwhile, and what becomes of the save."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cp_support import control_program, define, filler

from dcss.cp.operations import export, import_image, save_image
from dcss.cp.program import ControlProgram
from dcss.errors import DcssError, SpoolError
from dcss.rpc.loop import Loop
from dcss.system.jobs import Jobs

TURN_SECONDS = 10.0


class Desk:
    """A CP with jobs under way; `save` holds its copy until `go_on`."""

    def __init__(self, cp: ControlProgram) -> None:
        self.cp = cp
        self.loop = Loop()
        self.jobs = Jobs(self.loop)
        self.answers: dict[str, Any] = {}
        self.copying = threading.Event()
        self._go_on = threading.Event()

    def held(self, descriptor: int) -> None:
        os.pwrite(descriptor, b"new", 0)
        self.copying.set()
        assert self._go_on.wait(TURN_SECONDS)

    def ask(self, name: str, steps: Any) -> None:
        def done(outcome: Any) -> None:
            try:
                self.answers[name] = outcome()
            except DcssError as error:
                self.answers[name] = error

        self.jobs.run(steps, done)

    def command(self, line: str) -> None:
        self.ask(line, self.cp.execute_steps(line))

    def save(self) -> None:
        """Begin a save of LIB, whose copy is under way when this returns."""
        self.ask("save", save_image(self.cp, "LIB", self.held))
        assert self.copying.wait(TURN_SECONDS)

    def go_on(self) -> None:
        self._go_on.set()

    def wait_for(self, *names: str) -> None:
        for _ in range(200):
            if set(names) <= set(self.answers):
                return
            self.loop.turn(TURN_SECONDS)
        pytest.fail(f"found answers to {list(self.answers)}, wanted {names}")

    def classes(self) -> dict[int, str]:
        return {spid: str(file.file_class) for spid, file in self.cp.files.items()}

    def spooled(self) -> list[str]:
        return sorted(path.name for path in Path(os.environ["XDG_STATE_HOME"], "dcss", self.cp.system).iterdir())


@pytest.fixture
def desk() -> Iterator[Desk]:
    with control_program() as cp:
        cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"old"))
        cp.execute("DEFSEG LIB 20000-2000F SR")
        desk = Desk(cp)
        yield desk
        desk.go_on()
        desk.jobs.close()
        desk.loop.close()


def test_the_old_version_is_served_until_the_new_one_is_whole(desk: Desk) -> None:
    """FACTS 1.2: one available file per name; who has the older one keeps it."""
    desk.save()
    desk.command("QUERY NSS NAME LIB MAP")
    assert [row["class"] for row in desk.answers["QUERY NSS NAME LIB MAP"].data] == ["A", "S"]
    assert bytes(desk.cp.open(define("LIB", "1-1 SR").name).object.buffer[:3]) == b"old"
    assert desk.spooled() == ["0001.content", "0001.manifest", "0002.content.new", "0002.manifest"]
    desk.go_on()
    desk.wait_for("save")
    assert desk.answers["save"].lines == ("HCPNSS440I Saved segment LIB was successfully saved in fileid 0002.",)
    assert desk.classes() == {2: "A"}
    assert bytes(desk.cp.open(define("LIB", "1-1 SR").name).object.buffer[:3]) == b"new"


def test_a_second_definition_save_import_or_export_waits(desk: Desk, tmp_path: Path) -> None:
    """FACTS 1.1: only one DEFSEG or SAVESEG runs at a time system-wide; a second waits."""
    image = tmp_path / "image"
    image.write_bytes(b"imported")
    desk.save()
    for line in ("DEFSEG TWO 30000-3000F SR", "SAVESEG TWO"):
        desk.command(line)
    desk.ask("import", import_image(desk.cp, image, define("THREE", "40000-4000F SR"), None))
    desk.ask("export", export(desk.cp, "LIB", tmp_path / "exported"))
    for _ in range(3):
        desk.loop.turn(0.05)
    assert desk.answers == {}
    assert desk.classes() == {1: "A", 2: "S"}
    desk.go_on()
    desk.wait_for("save", "DEFSEG TWO 30000-3000F SR", "SAVESEG TWO", "import", "export")
    assert list(desk.answers) == ["save", "DEFSEG TWO 30000-3000F SR", "SAVESEG TWO", "import", "export"]
    assert all(answer.return_code == 0 for answer in desk.answers.values())
    assert desk.classes() == {2: "A", 3: "A", 4: "A"}
    assert (tmp_path / "exported").read_bytes()[:3] == b"new"


def test_purge_interrupts_a_save(desk: Desk) -> None:
    """FACTS 1.2: no half-saved file remains, the skeleton is purged and must be redefined."""
    desk.save()
    desk.command("PURGE NSS NAME LIB")
    assert desk.answers["PURGE NSS NAME LIB"].lines == ("0002 FILES PURGED",)
    assert desk.classes() == {}
    desk.go_on()
    desk.wait_for("save")
    assert (desk.answers["save"].return_code, *desk.answers["save"].lines) == (
        9010,
        "HCPDCS9010E Saved segment LIB was purged while it was being saved; nothing was saved, DEFSEG it again",
    )
    assert desk.classes() == {}
    assert desk.spooled() == []
    desk.command("SAVESEG LIB")
    assert desk.answers["SAVESEG LIB"].return_code == 9002
    desk.command("DEFSEG LIB 20000-2000F SR")
    assert desk.answers["DEFSEG LIB 20000-2000F SR"].return_code == 0


def test_the_older_version_may_go_while_the_new_one_is_saved(desk: Desk) -> None:
    desk.save()
    desk.command("PURGE NSS 0001")
    desk.go_on()
    desk.wait_for("save")
    assert desk.answers["save"].return_code == 0
    assert desk.classes() == {2: "A"}


def test_a_save_that_fails_changes_nothing_and_lets_the_next_one_go_on(desk: Desk) -> None:
    def fails(descriptor: int) -> None:
        desk.held(descriptor)
        raise OSError(5, "Input/output error")

    desk.ask("fails", save_image(desk.cp, "LIB", fails))
    desk.ask("next", save_image(desk.cp, "LIB", filler(b"next")))
    assert desk.copying.wait(TURN_SECONDS)
    desk.go_on()
    desk.wait_for("fails", "next")
    assert isinstance(desk.answers["fails"], SpoolError)
    assert desk.answers["next"].return_code == 0
    assert desk.spooled() == ["0002.content", "0002.manifest"]


def test_where_no_thread_can_be_had_nothing_is_saved(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    desk.ask("save", save_image(desk.cp, "LIB", filler(b"new")))
    assert "can't start new thread" in str(desk.answers["save"])
    assert desk.classes() == {1: "A", 2: "S"}


def test_what_is_under_way_when_cp_ends_is_given_up(desk: Desk) -> None:
    desk.save()
    desk.command("DEFSEG TWO 30000-3000F SR")
    threading.Timer(0.1, desk.go_on).start()
    desk.jobs.close()
    assert desk.answers == {}
    assert desk.classes() == {1: "A", 2: "S"}
    assert desk.spooled() == ["0001.content", "0001.manifest", "0002.manifest"]
    assert desk.cp.execute("SAVESEG LIB").return_code == 9007  # nobody's turn, and the old content is there
