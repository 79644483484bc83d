"""What an operator asks of CP beyond commands: images saved, imported, exported, brought in; refusals are answers."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp, control_program, define, descriptor_of, filler, never_filled, objects_of

from dcss.abi.extmem import SegmentName
from dcss.cp.requests import Export, Import, Load, Save
from dcss.cp.segments.objects import DamagedError
from dcss.cp.spool.transfer import manifest_of
from dcss.errors import PublishError, SpoolError

LIB = SegmentName("LIB")


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        yield running


def spooled(cp: BlockingCp, spid: int) -> Path:
    return Path(os.environ["XDG_STATE_HOME"], "dcss", cp.system, f"{spid:04d}.content")


def test_an_image_is_saved_into_a_skeleton(cp: BlockingCp) -> None:
    cp.execute("DEFSEG LIB 20000-2000F SR")
    response = cp.perform(Save(LIB, filler(b"image")))
    assert response.lines == ("HCPNSS440I Saved segment LIB was successfully saved in fileid 0001.",)
    assert [(row["file"], row["class"], row["saved"]) for row in response.data or []] == [(1, "A", True)]
    assert spooled(cp, 1).read_bytes() == b"image".ljust(65536, b"\0")


def test_what_cp_refuses_is_a_response(cp: BlockingCp, tmp_path: Path) -> None:
    answers = [
        cp.perform(Save(LIB, never_filled)),
    ]
    answers += [cp.perform(Load(LIB)), cp.perform(Export((LIB,), tmp_path / "x"))]
    cp.execute("DEFSEG LIB 20000-2000F SR")
    answers += [cp.perform(Load(LIB)), cp.perform(Export((LIB,), tmp_path / "x"))]
    assert [(answer.return_code, *answer.lines) for answer in answers] == [
        (9002, "HCPDCS9002E Saved segment LIB is not defined, or is saved already; DEFSEG it first"),
        (9003, "HCPDCS9003E System data file LIB does not exist"),
        (9003, "HCPDCS9003E System data file LIB does not exist"),
        (9006, "HCPDCS9006E Saved segment LIB is defined and not saved yet; SAVESEG it first"),
        (9006, "HCPDCS9006E Saved segment LIB is defined and not saved yet; SAVESEG it first"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_does_not_fit_changes_nothing(cp: BlockingCp, tmp_path: Path) -> None:
    cp.execute("DEFSEG LIB 20000-2000F SR")
    image = tmp_path / "image"
    image.write_bytes(bytes(65537))
    with pytest.raises(PublishError, match="needs 65537 bytes for its image, has 65536"):
        cp.perform(Save(LIB, image))
    assert cp.files[1].file_class == "S"
    image.write_bytes(b"image")
    assert cp.perform(Save(LIB, image)).return_code == 0
    assert spooled(cp, 1).read_bytes() == b"image".ljust(65536, b"\0")


def test_bringing_in_checks_the_digest(cp: BlockingCp) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"good"))
    assert cp.segments == {}
    rows = cp.perform(Load(LIB)).data or []
    assert [row["shm"] for row in rows] == [f"/{name}" for name in objects_of(cp.system)]
    assert cp.perform(Load(LIB)).data == rows
    os.pwrite(cp.available[define("LIB", "1-1 SR").name].object.write_fd, b"evil", 0)
    with pytest.raises(SpoolError, match=r"segment LIB: found content of digest \w+, wanted \w+"):
        cp.perform(Load(LIB))


def content_of(cp: BlockingCp) -> object:
    (row,) = cp.perform(Load(LIB)).data or []
    return row["content"]


@pytest.mark.parametrize("saved", [True, False])
def test_bringing_in_tells_what_cp_wrote(cp: BlockingCp, saved: bool) -> None:
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
def test_bringing_in_tells_what_guests_wrote(cp: BlockingCp, saved: bool) -> None:
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


def test_bringing_in_checks_what_guests_may_write_until_one_can(cp: BlockingCp) -> None:
    cp.saved.store(define("LIB", "20000-2000F SW"), filler(b"good"))
    os.pwrite(cp.open(define("LIB", "1-1 SR").name).object.write_fd, b"evil", 0)
    with pytest.raises(SpoolError, match=r"segment LIB: found content of digest \w+, wanted \w+"):
        cp.perform(Load(LIB))


def test_a_damaged_segment_is_set_aside_and_named(cp: BlockingCp) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"good"))
    with spooled(cp, 1).open("r+b") as content:
        content.write(b"evil")
    with pytest.raises(DamagedError, match=r"segment LIB: .*saved was .*; it was set aside and is not served"):
        cp.perform(Load(LIB))
    assert cp.findings[0].startswith("spool file 0001 is damaged: its content has digest ")
    assert cp.perform(Load(LIB)).return_code == 9003


def test_a_damaged_segment_is_set_aside_when_it_is_exported_and_its_users_keep_it(
    cp: BlockingCp, tmp_path: Path
) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"good"))
    cp.register("G", storage_bytes=0)
    reply = cp.handle("G", struct.pack(">QQQ8s", 0x64, 0, 0x20, "LIB     ".encode("cp037")))
    with spooled(cp, 1).open("r+b") as content:
        content.write(b"evil")
    (tmp_path / "x").write_bytes(b"what was there")
    with pytest.raises(DamagedError, match=r"segment LIB: .*saved was .*; it was set aside and is not served"):
        cp.perform(Export((LIB,), tmp_path / "x"))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"what was there")]
    assert [(file.file_class, file.users) for file in cp.files.values()] == [("P", {"G"})]
    assert os.pread(descriptor_of(reply), 4, 0) == b"good"
    cp.release("G")
    assert (dict(cp.files), objects_of(cp.system)) == ({}, [])


def test_out_and_in_again(cp: BlockingCp, tmp_path: Path) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"carried"))
    image = tmp_path / "lib.img"
    assert cp.perform(Export((LIB,), image)).return_code == 0
    assert manifest_of(image).exists()
    parts: list[int] = []
    response = cp.perform(Import(image, define("LIB2", "30000-3000F EW"), advance=parts.append))
    assert response.lines == ("HCPNSS440I Saved segment LIB2 was successfully saved in fileid 0002.",)
    assert spooled(cp, 2).read_bytes() == spooled(cp, 1).read_bytes()
    assert sum(parts) == 65536
