"""The spool on disk: durable, atomic, private, and never serving what is damaged."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from errno import ENOSPC
from pathlib import Path

import pytest
from cp_support import BlockingCp, define, filler, never_filled, private_directories, unique_system

from dcss.abi.extmem import SegmentType
from dcss.cp.segments.objects import DamagedError
from dcss.cp.segments.segment import FileClass
from dcss.cp.spool.definitions import saved_definitions
from dcss.cp.spool.manifest import Manifest
from dcss.cp.spool.spool import Spool, content_path
from dcss.errors import PublishError, SpoolError, SystemBusyError
from dcss.host import files as durable

LIB = define("LIB", "20000-2000F SR")
MANIFEST = Manifest(3, 7, FileClass.AVAILABLE, LIB, "MAINT", "2026-01-02T03:04:05+00:00", "ab" * 32)


@pytest.fixture
def system() -> Iterator[str]:
    with private_directories():
        yield unique_system("spool")


def directory_of(system: str) -> Path:
    return Path(os.environ["XDG_STATE_HOME"], "dcss", system)


def names(system: str) -> list[str]:
    return sorted(path.name for path in directory_of(system).iterdir())


def store(system: str, content: bytes) -> None:
    with BlockingCp(system) as cp:
        cp.saved.store(LIB, filler(content))


def test_manifest_round_trips() -> None:
    full = define("A@#$1", "7FF-7FF EN", "800-8FF SR", "900-9FF EW", secure=True, restricted=True)
    for manifest in (MANIFEST, Manifest(1, 2, FileClass.SKELETON, full, "OPERATOR", MANIFEST.created)):
        assert Manifest.unpack(manifest.pack()) == manifest


def test_manifest_with_any_bit_changed_or_cut_short_is_refused() -> None:
    packed = MANIFEST.pack()
    for position in range(len(packed)):
        with pytest.raises(ValueError):
            Manifest.unpack(packed[:position])
        for bit in range(8):
            changed = bytearray(packed)
            changed[position] ^= 1 << bit
            with pytest.raises(ValueError):
                Manifest.unpack(bytes(changed))


def test_saved_definitions_are_read_without_the_lock_the_newest_of_each_name(system: str) -> None:
    newer, skeleton, other = (
        define("LIB", "30000-3000F SR"),
        define("SKELETON", "40000-4000F SR"),
        define("B", "1-2 SN"),
    )
    spool = directory_of(system)
    spool.mkdir(parents=True)
    for spid, serial, kind, definition in (
        (1, 9, FileClass.AVAILABLE, newer),
        (2, 8, FileClass.AVAILABLE, LIB),
        (3, 10, FileClass.SKELETON, LIB),
        (4, 1, FileClass.SKELETON, skeleton),
        (5, 2, FileClass.RESTRICTED, other),
    ):
        manifest = replace(MANIFEST, spid=spid, serial=serial, file_class=kind, definition=definition)
        (spool / f"{spid:04}.manifest").write_bytes(manifest.pack())
    (spool / "0006.manifest").write_bytes(b"damaged")
    (spool / "0007.manifest").mkdir()
    with BlockingCp(unique_system("other")):
        assert saved_definitions(system) == {newer.name: newer, other.name: other}
    assert saved_definitions(unique_system("none")) == {}


def test_nothing_is_made_where_nothing_is_saved(system: str) -> None:
    with BlockingCp(system) as cp:
        cp.publish(LIB, filler(b"x"))
        cp.publish(LIB, filler(b"y"))
    assert not Path(os.environ["XDG_STATE_HOME"], "dcss").exists()


def test_saved_segment_lasts(system: str) -> None:
    store(system, b"content")
    assert directory_of(system).stat().st_mode & 0o777 == 0o700
    assert names(system) == ["0001.content", "0001.manifest"]
    with BlockingCp(system) as cp:
        assert cp.segments == {}
        segment = cp.open(LIB.name)
        assert bytes(segment.object.buffer) == b"content".ljust(65536, b"\0")
        assert segment.digest == hashlib.sha256(segment.object.buffer).hexdigest() == segment.saved_digest
        assert (segment.spid, segment.file_class, segment.owner) == (1, "A", "OPERATOR")
        assert list(cp.segments) == ["LIB"]


def test_where_the_content_of_a_file_lies(system: str) -> None:
    store(system, b"content")
    assert content_path(system, 1) == directory_of(system) / "0001.content"
    assert content_path(system, 1).read_bytes() == b"content".ljust(65536, b"\0")
    with pytest.raises(ValueError, match="system name"):
        content_path("../elsewhere", 1)


def test_a_spool_that_cannot_be_looked_at_is_named(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", f"/{'x' * 300}")  # for root, too, who may enter every directory
    with pytest.raises(SpoolError, match=f"the spool of system {system}, /xxx.*: found File name too long, wanted a"):
        Spool(system)


def test_second_cp_with_another_runtime_directory_is_refused(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlockingCp(system) as cp:
        cp.saved.store(LIB, filler(b"x"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        with pytest.raises(SystemBusyError, match="another CP has its spool"):
            BlockingCp(system)
        assert list((tmp_path / "dcss").iterdir()) == []


@pytest.mark.parametrize("offset_bytes", [0, 6, 65535])
def test_damaged_content_is_set_aside_and_never_served(system: str, offset_bytes: int) -> None:
    store(system, b"content")
    with (directory_of(system) / "0001.content").open("r+b") as content:
        content.seek(offset_bytes)
        content.write(b"\xff")
    with BlockingCp(system) as cp:
        with pytest.raises(DamagedError, match="saved was"):
            cp.open(LIB.name)
        assert cp.files == {}
        (finding,) = cp.findings
        assert "spool file 0001 is damaged: its content has digest" in finding
        damaged = directory_of(system) / "damaged"
        assert finding.endswith(f"; set aside as {damaged}/0001.content.1 and {damaged}/0001.manifest.1")
        assert names(system) == ["damaged"]
        assert sorted(path.name for path in (directory_of(system) / "damaged").iterdir()) == [
            "0001.content.1",
            "0001.manifest.1",
        ]
        cp.saved.store(LIB, filler(b"again"))
        assert bytes(cp.open(LIB.name).object.buffer[:5]) == b"again"


@pytest.mark.parametrize("word", ["SR", "SW", "SN", "SC", "ER", "EW", "EN"])
def test_damaged_content_of_every_type_is_told(system: str, word: str) -> None:
    """What guests may write has no digest while they use it, and had one when it was saved."""
    kind = SegmentType[word]
    with BlockingCp(system) as cp:
        segment = cp.saved.store(define("LIB", f"20000-2000F {word}"), filler(b"content" if kind.saved else b""))
        assert cp.open(LIB.name).digest == (None if kind.shared_writable else segment.saved_digest)
    with (directory_of(system) / "0001.content").open("r+b") as content:
        content.write(b"\xff")
    with BlockingCp(system) as cp:
        if word in {"SN", "EN"}:  # which show nothing of it
            assert not any(cp.open(LIB.name).object.buffer)
        else:
            with pytest.raises(DamagedError, match="saved was"):
                cp.open(LIB.name)
            assert cp.files == {}


@pytest.mark.parametrize(
    ("file_name", "content", "message"),
    [
        ("0001.manifest", b"{}", "no manifest of format 1"),
        ("0001.manifest", b"", "Expecting value"),
        ("0001.manifest", b"\xff\xfe\x00", "codec can't decode"),
        ("0001.content", b"short", "found 5 bytes, wanted 65536"),
        ("0001.content", None, "No such file"),
    ],
)
def test_damage_seen_at_start_is_set_aside(system: str, file_name: str, content: bytes | None, message: str) -> None:
    store(system, b"content")
    path = directory_of(system) / file_name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with BlockingCp(system) as cp:
        assert cp.files == {}
        assert message in cp.findings[0]
        assert names(system) == ["damaged"]
    with BlockingCp(system) as cp:
        assert cp.findings == []


def test_manifest_under_another_number_is_set_aside(system: str) -> None:
    store(system, b"content")
    for kind in ("manifest", "content"):
        (directory_of(system) / f"0001.{kind}").rename(directory_of(system) / f"0002.{kind}")
    with BlockingCp(system) as cp:
        assert "found file number 0001" in cp.findings[0]


def test_set_aside_never_overwrites(system: str) -> None:
    for _ in range(3):
        store(system, b"content")
        (directory_of(system) / "0001.manifest").write_bytes(b"")
    with BlockingCp(system):
        pass
    assert len(list((directory_of(system) / "damaged").iterdir())) == 6


def test_of_two_versions_the_newer_is_kept(system: str) -> None:
    with BlockingCp(system) as cp:
        cp.saved.store(LIB, filler(b"old"))
        old = {path.name: path.read_bytes() for path in directory_of(system).iterdir()}
        cp.saved.store(LIB, filler(b"new"))
    for name, data in old.items():  # as if the crash had come before the removal
        (directory_of(system) / name).write_bytes(data)
    with BlockingCp(system) as cp:
        assert list(cp.files) == [2]
        assert bytes(cp.open(LIB.name).object.buffer[:3]) == b"new"
    assert names(system) == ["0002.content", "0002.manifest"]


def test_unfinished_files_are_removed_and_foreign_ones_left(system: str) -> None:
    store(system, b"content")
    for name in ("0002.content", "0003.content.new", "0003.manifest.new", "NOTES", "12345.content"):
        (directory_of(system) / name).write_bytes(b"x")
    with BlockingCp(system) as cp:
        assert list(cp.files) == [1]
    assert names(system) == ["0001.content", "0001.manifest", "12345.content", "NOTES"]


def test_failure_while_saving_leaves_all_as_it_was(system: str) -> None:
    store(system, b"content")
    with BlockingCp(system) as cp:
        cp.saved.define(LIB)
        before = {path.name: path.read_bytes() for path in directory_of(system).iterdir()}

        def fail(write_fd: int) -> None:
            os.pwrite(write_fd, b"half", 0)
            raise OSError(28, "No space left on device")

        for attempt in (cp.saved.save, cp.saved.store):
            with pytest.raises(
                SpoolError, match=r"LIB: 65536 bytes could not be written to the spool .* No space left"
            ):
                attempt(LIB.name if attempt == cp.saved.save else LIB, fail)  # type: ignore[arg-type]
        assert {path.name: path.read_bytes() for path in directory_of(system).iterdir()} == before
        assert {spid: segment.file_class for spid, segment in cp.files.items()} == {1: "A", 2: "S"}
        cp.saved.save(LIB.name, filler(b"second"))
        assert bytes(cp.open(LIB.name).object.buffer[:6]) == b"second"


def test_failure_of_the_manifest_takes_the_content_back(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlockingCp(system) as cp:
        monkeypatch.setattr(Manifest, "pack", lambda _: b"x" * (1 << 20))
        monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(SpoolError, match="No space left"):
            cp.saved.store(LIB, filler(b"x"))
        assert (names(system), dict(cp.files)) == ([], {})


def test_content_beyond_the_end_is_an_error(system: str) -> None:
    with BlockingCp(system) as cp:
        with pytest.raises(SpoolError, match="has 65537 bytes, wanted at most 65536"):
            cp.saved.store(LIB, lambda fd: os.pwrite(fd, b"x", 65536))
        with pytest.raises(PublishError, match="needs 65537 bytes"):
            cp.saved.store(LIB, never_filled, image_bytes=65537)
        assert names(system) == []


def test_transient_segment_does_not_hide_a_saved_one(system: str) -> None:
    store(system, b"saved")
    with BlockingCp(system) as cp:
        with pytest.raises(PublishError, match=r"the spool holds it as file 0001; .*PURGE NSS NAME LIB"):
            cp.publish(LIB, filler(b"transient"))
        assert bytes(cp.open(LIB.name).object.buffer[:5]) == b"saved"


def test_only_saved_pages_are_saved(system: str) -> None:
    mixed = define("MIX", "20000-20000 SR", "20001-20001 SC", "20002-20002 SN", "20004-20004 SW")
    with BlockingCp(system) as cp:
        cp.saved.define(mixed)
        cp.saved.save(mixed.name, filler(b"x" * mixed.size_bytes), drop=True)
        buffer = cp.open(mixed.name).object.buffer
        assert [page for page in range(5) if buffer[page * 4096]] == [0, 4]


@pytest.mark.parametrize("kind", ["SN", "EN", "SC"])
def test_an_image_is_not_saved_where_nothing_is_kept(system: str, kind: str) -> None:
    """SAVESEG of a guest drops what these pages hold; an image would be cut without a word."""
    mixed = define("MIX", "20000-200FF ER" if kind == "EN" else "20000-200FF SR", f"20100-20100 {kind}")
    with BlockingCp(system) as cp:
        cp.saved.define(mixed)
        for attempt in (cp.saved.save, cp.saved.store):
            with pytest.raises(PublishError, match="its image has content in page 20100, which keeps none"):
                attempt(mixed.name if attempt == cp.saved.save else mixed, filler(b"x" * mixed.size_bytes))  # type: ignore[arg-type]
            assert [(file.spid, file.file_class) for file in cp.files.values()] == [(1, "S")]
            assert names(system) == ["0001.manifest"]
        cp.saved.store(mixed, filler(b"x" * 256 * 4096))


def test_each_rename_comes_after_its_sync_and_before_the_directory_s(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_fsync, real_rename, real_unlink = os.fsync, Path.rename, Path.unlink

    def fsync(descriptor: int) -> None:
        events.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_fsync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        events.append(f"rename {target.name}")
        return real_rename(path, target)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        events.append(f"unlink {path.name}")
        real_unlink(path, missing_ok=missing_ok)

    with BlockingCp(system) as cp:
        cp.saved.store(LIB, filler(b"old"))
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "rename", rename)
        monkeypatch.setattr(Path, "unlink", unlink)
        cp.saved.store(LIB, filler(b"new"))
        monkeypatch.undo()
    assert events == [
        "sync 0002.content.new",
        "rename 0002.content",
        f"sync {system}",
        "sync 0002.manifest.new",
        "rename 0002.manifest",
        f"sync {system}",
        "unlink 0001.manifest",
        f"sync {system}",
        "unlink 0001.content",
        f"sync {system}",
    ]


def test_spool_that_was_never_written_reads_as_empty(system: str) -> None:
    spool = Spool(system)
    assert spool.recover(pytest.fail) == []
    spool.remove(1)
    spool.close()
    spool.close()
    assert not Path(os.environ["XDG_STATE_HOME"], "dcss").exists()


def test_write_durably_keeps_what_was_there_on_any_failure(tmp_path: Path) -> None:
    path = tmp_path / "0001.content"
    path.write_bytes(b"old")
    for failing in ("content created", "content written", "content synced"):

        def fault(step: str, failing: str = failing) -> None:
            if step == failing:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            durable.write_durably(path, lambda fd: os.write(fd, b"new"), fault)
        assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


def test_a_spool_that_no_disk_has_room_for_says_where_room_is_wanted(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> int:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("dcss.cp.spool.spool.lock_directory", full)
    message = rf"No space left on device; found \d+ bytes free in {directory_of(system)}: make room there"
    with BlockingCp(system) as cp, pytest.raises(SpoolError, match=message):
        cp.saved.store(LIB, filler(b"x"))


@pytest.mark.parametrize("damage", ["long", "fifo"])
def test_a_content_that_is_no_file_of_that_size_is_damaged_and_not_taken_for_zeros(
    system: str, tmp_path: Path, damage: str
) -> None:
    store(system, b"content")
    content = directory_of(system) / "0001.content"
    spool = Spool(system)
    (manifest,) = spool.recover(lambda _: None)
    fill = spool.fill(manifest)
    spool.close()
    if damage == "fifo":
        content.unlink()
        os.mkfifo(content)
    else:
        with content.open("ab") as file:
            file.write(b"more")
    with (tmp_path / "object").open("wb") as copy, pytest.raises(DamagedError):
        fill(copy.fileno())
