"""What an operator asks of CP beyond commands: images saved, imported, exported, brought in; refusals are answers."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import control_program, define, descriptor_of, filler, never_filled, objects_of

from dcss.cp.operations import bring_in, export, import_image, save_image
from dcss.cp.program import ControlProgram
from dcss.cp.segments.storage import DamagedError
from dcss.cp.spool.transfer import manifest_of
from dcss.cp.steps import run_to_completion
from dcss.errors import PublishError, SpoolError


@pytest.fixture
def cp() -> Iterator[ControlProgram]:
    with control_program() as running:
        yield running


def spooled(cp: ControlProgram, spid: int) -> Path:
    return Path(os.environ["XDG_STATE_HOME"], "dcss", cp.system, f"{spid:04d}.content")


def test_an_image_is_saved_into_a_skeleton(cp: ControlProgram) -> None:
    cp.execute("DEFSEG LIB 20000-2000F SR")
    response = run_to_completion(save_image(cp, "lib", filler(b"image"), image_bytes=5))
    assert response.lines == ("HCPNSS440I Saved segment LIB was successfully saved in fileid 0001.",)
    assert [(row["file"], row["class"], row["saved"]) for row in response.data or []] == [(1, "A", True)]
    assert spooled(cp, 1).read_bytes() == b"image".ljust(65536, b"\0")


def test_what_cp_refuses_is_a_response(cp: ControlProgram, tmp_path: Path) -> None:
    answers = [
        run_to_completion(save_image(cp, "LIB", never_filled)),
        run_to_completion(save_image(cp, "NO.NAME", never_filled)),
    ]
    answers += [bring_in(cp, "LIB"), run_to_completion(export(cp, "LIB", tmp_path / "x"))]
    cp.execute("DEFSEG LIB 20000-2000F SR")
    answers += [bring_in(cp, "LIB"), run_to_completion(export(cp, "LIB", tmp_path / "x"))]
    assert [(answer.return_code, *answer.lines) for answer in answers] == [
        (9002, "HCPDCS9002E Saved segment LIB is not defined, or is saved already; DEFSEG it first"),
        (2, "HCPCMD002E Invalid operand - NO.NAME"),
        (9003, "HCPDCS9003E System data file LIB does not exist"),
        (9003, "HCPDCS9003E System data file LIB does not exist"),
        (9006, "HCPDCS9006E Saved segment LIB is defined and not saved yet; SAVESEG it first"),
        (9006, "HCPDCS9006E Saved segment LIB is defined and not saved yet; SAVESEG it first"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_does_not_fit_changes_nothing(cp: ControlProgram) -> None:
    cp.execute("DEFSEG LIB 20000-2000F SR")
    with pytest.raises(PublishError, match="needs 65537 bytes for its image, has 65536"):
        run_to_completion(save_image(cp, "LIB", never_filled, image_bytes=65537))
    assert cp.files[1].file_class == "S"


def test_bringing_in_checks_the_digest(cp: ControlProgram) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"good"))
    assert cp.segments == {}
    rows = bring_in(cp, "lib").data or []
    assert [row["shm"] for row in rows] == [f"/{name}" for name in objects_of(cp.system)]
    assert bring_in(cp, "LIB").data == rows
    os.pwrite(cp.available[define("LIB", "1-1 SR").name].object.write_fd, b"evil", 0)
    with pytest.raises(SpoolError, match=r"segment LIB: found content of digest \w+, wanted \w+"):
        bring_in(cp, "LIB")


def content_of(cp: ControlProgram) -> object:
    (row,) = bring_in(cp, "LIB").data or []
    return row["content"]


@pytest.mark.parametrize("saved", [True, False])
def test_bringing_in_tells_what_cp_wrote(cp: ControlProgram, saved: bool) -> None:
    put = cp.saved.store if saved else cp.publish
    put(define("LIB", "20000-2000F SC", "20010-2001F SR"), filler(b""))
    before = "as-saved" if saved else "as-published"
    assert [content_of(cp), content_of(cp)] == [before, before]
    cp.execute("STORE NSS LIB 20000000 C3D7")
    assert content_of(cp) == "written-by-cp"
    if saved:
        cp.execute("STORE NSS LIB 20000000 0000")
        assert content_of(cp) == "as-saved"


@pytest.mark.parametrize("saved", [True, False])
def test_bringing_in_tells_what_guests_wrote(cp: ControlProgram, saved: bool) -> None:
    put = cp.saved.store if saved else cp.publish
    put(define("LIB", "20000-2000F SW"), filler(b"good"))
    before = "as-saved" if saved else "as-published"
    assert [content_of(cp), content_of(cp)] == [before, before]
    cp.register("G", storage_bytes=0)
    reply = cp.handle("G", struct.pack(">QQQ8s", 0x64, 0, 0x20, "LIB     ".encode("cp037")))
    if saved:
        assert content_of(cp) == "as-saved"  # it has written nothing yet
    os.pwrite(descriptor_of(reply), b"word", 0)
    assert content_of(cp) == "written-by-guests"


def test_bringing_in_checks_what_guests_may_write_until_one_can(cp: ControlProgram) -> None:
    cp.saved.store(define("LIB", "20000-2000F SW"), filler(b"good"))
    os.pwrite(cp.open(define("LIB", "1-1 SR").name).object.write_fd, b"evil", 0)
    with pytest.raises(SpoolError, match=r"segment LIB: found content of digest \w+, wanted \w+"):
        bring_in(cp, "LIB")


def test_a_damaged_segment_is_set_aside_and_named(cp: ControlProgram) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"good"))
    with spooled(cp, 1).open("r+b") as content:
        content.write(b"evil")
    with pytest.raises(DamagedError, match=r"segment LIB: .*saved was .*; it was set aside and is not served"):
        bring_in(cp, "LIB")
    assert cp.findings[0].startswith("spool file 0001 is damaged: its content has digest ")
    assert bring_in(cp, "LIB").return_code == 9003


def test_a_damaged_segment_is_set_aside_when_it_is_exported_and_its_users_keep_it(
    cp: ControlProgram, tmp_path: Path
) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"good"))
    cp.register("G", storage_bytes=0)
    reply = cp.handle("G", struct.pack(">QQQ8s", 0x64, 0, 0x20, "LIB     ".encode("cp037")))
    with spooled(cp, 1).open("r+b") as content:
        content.write(b"evil")
    (tmp_path / "x").write_bytes(b"what was there")
    with pytest.raises(DamagedError, match=r"segment LIB: .*saved was .*; it was set aside and is not served"):
        run_to_completion(export(cp, "LIB", tmp_path / "x"))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"what was there")]
    assert [(file.file_class, file.users) for file in cp.files.values()] == [("P", {"G"})]
    assert os.pread(descriptor_of(reply), 4, 0) == b"good"
    cp.release("G")
    assert (dict(cp.files), objects_of(cp.system)) == ({}, [])


def test_out_and_in_again(cp: ControlProgram, tmp_path: Path) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"carried"))
    image = tmp_path / "lib.img"
    assert run_to_completion(export(cp, "LIB", image)).return_code == 0
    assert manifest_of(image).exists()
    parts: list[int] = []
    response = run_to_completion(import_image(cp, image, define("LIB2", "30000-3000F EW"), None, parts.append))
    assert response.lines == ("HCPNSS440I Saved segment LIB2 was successfully saved in fileid 0002.",)
    assert spooled(cp, 2).read_bytes() == spooled(cp, 1).read_bytes()
    assert sum(parts) == 65536
