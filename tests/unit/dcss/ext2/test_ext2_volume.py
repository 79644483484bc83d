import gc
import subprocess
import sys

import pytest
from ext2_support import CountingSource, TinyImage, content

from dcss.abi.ext2 import BLOCK_POINTERS
from dcss.errors import KernelError, StaleReferenceError
from dcss.ext2.source import BufferSource
from dcss.ext2.tables import CacheSizes
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


def test_caches_are_bounded(image: TinyImage) -> None:
    volume = image.volume(caches=CacheSizes(names=20, inodes=10))
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


def test_a_path_that_is_known_is_found_without_a_walk(image: TinyImage) -> None:
    """The same as the walk finds, also for odd paths; what was not looked up before is walked to."""
    image.directory(12, {b".": 12, b"..": 2, b"file": 13, b".hidden": 14})
    target = BLOCK_POINTERS.unpack(b"f12".ljust(60, b"\0"))
    image.inode(15, i_mode=0o120777, i_size=3, i_links_count=1, i_blocks=0, pointers=target)
    image.directory(2, {b".": 2, b"..": 2, b"dir": 12, b"f12": 13, b"link": 15})
    volume = image.volume()
    paths = [b"/dir/file", b"/dir/file/", b"dir//file", b"/dir/", b"/dir/.hidden", b"/dir/..", b"/dir/../f12", b"/link"]
    paths += [b"/link/", b"/nosuch", b"/f12/x", b"/", b"", b"//", b"/" + b"x" * 5000]

    def found(volume: Volume, path: bytes) -> object:
        try:
            return volume.resolve(path).number
        except KernelError as error:
            return error.errno

    for path in paths:
        first = found(image.volume(), path)
        assert [found(volume, path) for _ in range(3)] == [first] * 3, path
    assert volume.tables.known(b"/dir/file") is volume.inode(13)
    assert volume.tables.known(b"/link") is None
