import gc
import subprocess
import sys

import pytest
from ext2_support import CountingSource, TinyImage, content

from dcss.errors import StaleReferenceError
from dcss.ext2 import tables as tables_module
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume


@pytest.fixture
def image() -> TinyImage:
    image = TinyImage(block_size=4096, inodes=1024, blocks=512)
    image.directory(2, {b".": 2, b"..": 2, **{b"f%d" % i: i for i in range(12, 112)}})
    for number in range(12, 112):
        image.file(number, b"content of %d" % number)
    return image


def test_everything_starts_unread_and_is_read_once(image: TinyImage) -> None:
    source = CountingSource(image.data)
    volume = Volume.mount(source)
    source.reads.clear()
    volume.resolve(b"/f50")
    assert source.reads
    source.reads.clear()
    assert volume.resolve(b"/f50").number == 50
    assert source.reads == []


def test_invalidate_shows_what_changed(image: TinyImage) -> None:
    volume = image.volume()
    assert volume.resolve(b"/f12").size_bytes == 13
    assert volume.group(0).bg_free_blocks_count == 0
    image.file(12, b"longer than it was")
    image.directory(2, {b".": 2, b"..": 2, b"new": 12})
    image.desc(0, bg_free_blocks_count=9)
    assert volume.resolve(b"/f12").size_bytes == 13
    volume.invalidate()
    assert volume.resolve(b"/new").size_bytes == 18
    assert volume.lookup(volume.root(), b"f12") is None
    assert volume.group(0).bg_free_blocks_count == 9


def test_caches_are_bounded(image: TinyImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "INODES_CACHED", 10)
    monkeypatch.setattr(tables_module, "NAMES_CACHED", 20)
    volume = image.volume()
    for number in range(12, 112):
        assert volume.resolve(b"/f%d" % number).number == number
        assert volume.lookup(volume.root(), b"no%d" % number) is None
    assert len(volume.tables.inodes) == 10
    assert len(volume.tables.names) == 20


def test_a_file_read_by_its_runs(image: TinyImage) -> None:
    source = BufferSource(image.data)
    volume = Volume.mount(source)
    assert content(source, volume, volume.resolve(b"/f77")) == b"content of 77"


def test_a_volume_outlives_its_device_only_to_say_so(image: TinyImage) -> None:
    source = BufferSource(image.data)
    volume = Volume.mount(source)
    root = volume.root()
    source.close()
    for use in (
        lambda: volume.inode(12),
        lambda: list(volume.entries(root)),
        lambda: volume.lookup(root, b"f12"),
        lambda: volume.resolve(b"/f12"),
    ):
        with pytest.raises(StaleReferenceError):
            use()


def test_the_library_needs_the_standard_library_and_the_abi_only() -> None:
    script = (
        "import sys, dcss.ext2.volume\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('dcss.')))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    foreign, host = done.stdout.splitlines()
    assert set(foreign.split()) <= {"dcss", "__main__"}
    rooms = {".".join(name.split(".")[:2]) for name in host.split()}
    assert rooms == {"dcss.abi", "dcss.errors", "dcss.ext2"}


def test_the_last_reference_frees_the_device_without_a_collection(image: TinyImage) -> None:
    volume = image.volume()
    volume.resolve(b"/f12")
    with pytest.raises(BufferError):
        image.data.append(0)
    gc.disable()
    try:
        del volume
        image.data.append(0)
    finally:
        gc.enable()
