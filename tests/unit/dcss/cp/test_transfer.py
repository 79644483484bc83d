"""Export and import: the same segment comes back, or nothing changes."""

import ctypes
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cp_support import BlockingCp, control_program, define, filler, never_filled, private_directories, unique_system
from needs_support import needs

from dcss.abi.extmem import SegmentName
from dcss.cp.segments.objects import DamagedError
from dcss.cp.segments.segment import Segment
from dcss.cp.spool.manifest import Manifest
from dcss.cp.spool.transfer import export_segments, import_segment, manifest_of, moved, read_exported
from dcss.errors import ConfigError, SpoolError

LIB = define("LIB", "20000-2000F SR", "20010-20010 SN", secure=True)
CONTENT = bytes(range(256)) * 256


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        yield running


@pytest.fixture
def image(cp: BlockingCp, tmp_path: Path) -> Path:
    path = tmp_path / "lib.ext2"
    export_segments([cp.saved.store(LIB, filler(CONTENT), owner="MAINT")], path)
    return path


def import_exported(cp: BlockingCp, image: Path, **more: Any) -> Segment:
    (manifest,) = read_exported(image)
    return cp.run(import_segment(cp.cp.saved, image, manifest.definition, digest=manifest.digest, **more))


def test_round_trip_into_another_system(image: Path) -> None:
    assert image.read_bytes() == CONTENT + bytes(4096)
    copied: list[int] = []
    with control_program() as other:
        segment = import_exported(other, image, owner="ADMIN", advance=copied.append)
        assert (segment.definition, segment.owner, segment.spid) == (LIB, "ADMIN", 1)
        assert bytes(other.open(LIB.name).object.buffer) == CONTENT + bytes(4096)
    assert sum(copied) == len(CONTENT) + 4096


def test_transient_segment_can_be_exported_too(cp: BlockingCp, tmp_path: Path) -> None:
    export_segments([cp.publish(LIB, filler(CONTENT))], tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == CONTENT + bytes(4096)
    manifest = Manifest.unpack((tmp_path / "image.manifest").read_bytes())  # of one segment, as the spool has it
    assert (manifest.definition, manifest.serial) == (LIB, 0)


def test_what_was_loaded_into_pages_that_are_not_saved_is_not_exported(cp: BlockingCp, tmp_path: Path) -> None:
    """An exported file is what a saved one would be: pages of type SC are zeros in both."""
    definition = define("MIXED", "20000-20000 SR", "20001-20001 SC")
    segment = cp.publish(definition, filler(b"r" * 4096 + b"c" * 4096))
    assert bytes(segment.object.buffer) == b"r" * 4096 + b"c" * 4096
    export_segments([segment], tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == b"r" * 4096 + bytes(4096)


def test_one_segment_is_written_once(cp: BlockingCp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcss.cp.spool.transfer.TemporaryFile", None)  # would take the room of a second copy
    export_segments([cp.publish(LIB, filler(CONTENT))], tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == CONTENT + bytes(4096)


def test_segments_that_adjoin_are_exported_as_one_file(cp: BlockingCp, tmp_path: Path) -> None:
    lower, upper = define("LOWER", "20000-200FF SR"), define("UPPER", "20100-20100 SR")
    segments = [cp.saved.store(lower, filler(CONTENT)), cp.saved.store(upper, filler(b"upper"))]
    image = tmp_path / "both"
    export_segments(segments, image)
    assert image.read_bytes() == CONTENT.ljust(1 << 20, b"\0") + b"upper".ljust(4096, b"\0")
    manifests = read_exported(image)
    assert [each.definition for each in manifests] == [lower, upper]
    with control_program() as other:
        (segment,) = (
            other.run(import_segment(other.cp.saved, image, each.definition, digest=each.digest, first_byte=1 << 20))
            for each in manifests[1:]
        )
        assert bytes(other.open(segment.name).object.buffer) == b"upper".ljust(4096, b"\0")
    assert set(tmp_path.iterdir()) == {image, manifest_of(image)}


def test_segments_that_do_not_adjoin_are_not_exported_as_one_file(cp: BlockingCp, tmp_path: Path) -> None:
    lower, upper = define("LOWER", "20000-200FF SR"), define("UPPER", "20200-20200 SR")
    segments = [cp.saved.store(each, filler(b"content")) for each in (lower, upper)]
    with pytest.raises(ConfigError, match="UPPER: found it at 0x20200000, wanted it at 0x20100000, where LOWER"):
        export_segments(segments, tmp_path / "image")
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_of_several_segments_that_is_damaged_is_refused(cp: BlockingCp, tmp_path: Path) -> None:
    segments = [
        cp.saved.store(define(name, pages), filler(b"content"))
        for name, pages in (("LOWER", "20000-200FF SR"), ("UPPER", "20100-201FF SR"))
    ]
    export_segments(segments, tmp_path / "both")
    path = manifest_of(tmp_path / "both")
    whole = json.loads(path.read_bytes())
    damaged: list[Any] = [[], {}, [{}], [whole["segments"][0] | {"name": "OTHER"}], [3]]
    for listed in damaged:
        path.write_text(json.dumps(whole | {"segments": listed}))
        with pytest.raises(SpoolError, match=r"both.manifest: not a manifest of an exported segment"):
            read_exported(tmp_path / "both")


def test_skeleton_cannot(cp: BlockingCp, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="LIB: a skeleton has no content"):
        export_segments([cp.saved.define(LIB)], tmp_path / "image")
    assert list(tmp_path.iterdir()) == []


def test_damaged_image_is_not_imported(cp: BlockingCp, image: Path) -> None:
    before = set(cp.files)
    with image.open("r+b") as content:
        content.write(b"\xff")
    with pytest.raises(SpoolError, match=r"lib.ext2: .* found content of digest \w+, wanted \w+"):
        import_exported(cp, image)
    manifest_of(image).write_bytes(b"[]")
    with pytest.raises(SpoolError, match=r"lib.ext2.manifest: not a manifest of an exported segment"):
        import_exported(cp, image)
    manifest_of(image).unlink()
    with pytest.raises(SpoolError, match="No such file"):
        import_exported(cp, image)
    assert set(cp.files) == before
    assert len(list(Path(os.environ["XDG_STATE_HOME"], "dcss", cp.system).iterdir())) == 2  # content and manifest


def test_a_segment_can_be_imported_elsewhere_and_under_another_name(cp: BlockingCp, image: Path) -> None:
    (manifest,) = read_exported(image)
    definition = moved(manifest.definition, name=SegmentName("COPY"), start=0x40100000)
    segment = cp.run(import_segment(cp.cp.saved, image, definition, digest=manifest.digest))
    assert segment.definition == define("COPY", "40100-4010F SR", "40110-40110 SN", secure=True)
    assert bytes(cp.open(segment.name).object.buffer[: len(CONTENT)]) == CONTENT
    with pytest.raises(ValueError, match=r"wanted first-last in ascending order|wanted pages up to"):
        moved(manifest.definition, name=LIB.name, start=(512 << 30) - 4096)


def test_any_file_can_be_imported_where_its_place_is_given(cp: BlockingCp, tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"plain")
    segment = cp.run(import_segment(cp.cp.saved, path, define("PLAIN", "20000-20000 SR")))
    assert bytes(cp.open(segment.name).object.buffer) == b"plain".ljust(4096, b"\0")
    path.write_bytes(bytes(4097))
    with pytest.raises(SpoolError, match="plain: could not be imported: segment PLAIN: needs 4097 bytes for its image"):
        cp.run(import_segment(cp.cp.saved, path, define("PLAIN", "20000-20000 SR")))


def test_damaged_spool_is_not_exported(cp: BlockingCp, tmp_path: Path) -> None:
    segment = cp.saved.store(LIB, filler(CONTENT))
    content = next(Path(os.environ["XDG_STATE_HOME"], "dcss", cp.system).glob("*.content"))
    content.write_bytes(b"\xff" * (len(CONTENT) + 4096))
    (tmp_path / "image").write_bytes(b"there before")
    with pytest.raises(DamagedError, match="saved was"):
        export_segments([segment], tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == b"there before"


def test_image_that_cannot_be_written(cp: BlockingCp) -> None:
    with pytest.raises(SpoolError, match="could not be exported to /nonexistent/image"):
        export_segments([cp.publish(LIB, filler(CONTENT))], Path("/nonexistent/image"))


@needs("root")
def test_full_disk_leaves_all_as_it_was() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with private_directories() as directory:
        mounted = directory / "xdg_state_home"
        if libc.mount(b"tmpfs", os.fsencode(mounted), b"tmpfs", 0, b"size=1m,mode=700"):
            pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
        try:
            with BlockingCp(unique_system()) as cp:
                cp.saved.store(LIB, filler(CONTENT))
                cp.saved.define(big := define("LIB", "20000-203FF SR"))
                before = {path.name for path in (mounted / "dcss" / cp.system).iterdir()}
                attempts: tuple[Callable[[], object], ...] = (
                    lambda: cp.saved.save(big.name, never_filled),
                    lambda: cp.saved.store(big, never_filled),
                )
                for attempt in attempts:
                    with pytest.raises(SpoolError, match="No space left on device"):
                        attempt()
                assert {path.name for path in (mounted / "dcss" / cp.system).iterdir()} == before
                assert bytes(cp.open(big.name).object.buffer[:256]) == CONTENT[:256]
        finally:
            libc.umount2(os.fsencode(mounted), 0)
