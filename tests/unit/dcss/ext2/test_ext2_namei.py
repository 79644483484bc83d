from errno import EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from stat import S_IFLNK
from struct import unpack
from typing import Any

import pytest
from ext2_support import TinyImage

from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.volume import Volume


def link(image: TinyImage, number: int, target: bytes, **fields: int) -> None:
    fields = {"i_mode": S_IFLNK | 0o777, "i_links_count": 1, "i_size": len(target), **fields}
    if len(target) < 60:
        image.inode(number, pointers=unpack("<15I", target.ljust(60, b"\0")), **fields)
    else:
        block = image.allocate(-(-len(target) // 1024))
        image.write(block, target)
        image.inode(number, pointers=tuple(range(block, block + -(-len(target) // 1024))), **{"i_blocks": 2, **fields})


@pytest.fixture
def tree() -> TinyImage:
    image = TinyImage()
    image.directory(
        2, {b".": 2, b"..": 2, b"usr": 12, b"lib": 20, b"loop": 21, b"abs": 22, b"dangling": 23, b"file": 14}
    )
    image.directory(12, {b".": 12, b"..": 2, b"lib": 13, b"up": 24, b"home": 26})
    image.directory(13, {b".": 13, b"..": 12, b"libc.so.6": 14, b"self": 25})
    image.file(14, b"elf")
    link(image, 20, b"usr/lib")
    link(image, 21, b"loop")
    link(image, 22, b"//usr/./lib/")
    link(image, 23, b"nowhere")
    link(image, 24, b"..")
    link(image, 25, b"../lib/libc.so.6")
    link(image, 26, b"/file")
    return image


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"/", 2),
        (b"//", 2),
        (b".", 2),
        (b"/..", 2),
        (b"/../../usr/..", 2),
        (b"usr", 12),
        (b"/usr/lib/libc.so.6", 14),
        (b"//usr///lib/./libc.so.6", 14),
        (b"/lib/libc.so.6", 14),
        (b"/lib", 13),
        (b"/lib/", 13),
        (b"/lib/..", 12),
        (b"/abs/self", 14),
        (b"/usr/up/usr/up/lib", 13),
        (b"/abs/../up/file", 14),
        (b"/usr/home", 14),
    ],
)
def test_paths(tree: TinyImage, path: bytes, number: int) -> None:
    assert tree.volume().resolve(path).number == number


def test_the_last_link_is_followed_only_when_asked_or_before_a_slash(tree: TinyImage) -> None:
    volume = tree.volume()
    assert volume.resolve(b"/lib", follow=False).number == 20
    assert volume.resolve(b"/lib/", follow=False).number == 13
    assert volume.resolve(b"/lib/self", follow=False).number == 25
    assert volume.resolve(b"/dangling", follow=False).number == 23


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        (b"", ENOENT),
        (b"/nothing", ENOENT),
        (b"/nothing/else", ENOENT),
        (b"/dangling", ENOENT),
        (b"/file/", ENOTDIR),
        (b"/file/.", ENOTDIR),
        (b"/file/..", ENOTDIR),
        (b"/usr/lib/libc.so.6/x", ENOTDIR),
        (b"/abs/self/", ENOTDIR),
        (b"/loop", ELOOP),
        (b"/" + b"n" * 256, ENAMETOOLONG),
        (b"/" * 4096, ENAMETOOLONG),
        (b"/us\0r", ENOENT),
    ],
)
def test_paths_that_fail(tree: TinyImage, path: bytes, errno: int) -> None:
    with pytest.raises(KernelError) as caught:
        tree.volume().resolve(path)
    assert caught.value.errno == errno


def test_forty_links_and_no_more(tree: TinyImage) -> None:
    tree.directory(2, {b".": 2, b"..": 2, **{b"l%d" % i: 20 + i for i in range(41)}, b"end": 14})
    for i in range(41):
        link(tree, 20 + i, b"l%d" % (i + 1) if i < 40 else b"end")
    volume = tree.volume()
    assert volume.resolve(b"/l1").number == 14
    with pytest.raises(KernelError) as caught:
        volume.resolve(b"/l0")
    assert caught.value.errno == ELOOP


@pytest.mark.parametrize("length", [1, 59, 60, 61, 1024, 1025, 4095])
def test_links_fast_and_slow(length: int) -> None:
    image = TinyImage()
    target = (b"abcdefg/" * 600)[:length]
    link(image, 12, target)
    volume = image.volume()
    inode = volume.inode(12)
    assert inode.is_fast_symlink == (length < 60)
    assert volume.readlink(inode) == target


def test_a_target_ends_at_its_first_nul() -> None:
    image = TinyImage()
    link(image, 12, b"ab\0cd")
    assert image.volume().readlink(image.volume().inode(12)) == b"ab"


def test_a_link_to_nothing() -> None:
    image = TinyImage()
    link(image, 12, b"\0")
    image.directory(2, {b".": 2, b"l": 12})
    with pytest.raises(KernelError) as caught:
        image.volume().resolve(b"l")
    assert caught.value.errno == ENOENT


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"i_size": 0}, r"i_size: found 0, wanted 1\.\.59"),
        ({"i_size": 60}, r"i_size: found 60, wanted 1\.\.59"),
        ({"i_size": 4096, "i_blocks": 8}, r"i_size: found 4096, wanted 1\.\.4095"),
        ({"i_size": 1500, "i_blocks": 8}, "file block 1: found a hole"),
        ({"i_size": 70, "i_blocks": 2, "i_flags": 0x80000}, "i_flags: found EXTENTS"),
    ],
)
def test_damaged_links(fields: dict[str, int], message: str) -> None:
    image = TinyImage()
    image.inode(12, **{"i_mode": S_IFLNK, "i_links_count": 1, "pointers": (image.allocate(),), **fields})  # type: ignore[arg-type]
    volume = image.volume()
    with pytest.raises(Ext2FormatError, match=message):
        volume.readlink(volume.inode(12))


def test_readlink_of_a_file(tree: TinyImage) -> None:
    volume = tree.volume()
    with pytest.raises(KernelError) as caught:
        volume.readlink(volume.inode(14))
    assert caught.value.errno == EINVAL


def test_walk_yields_every_path_once_and_parents_first(tree: TinyImage) -> None:
    assert [(path, inode.number) for path, inode in tree.volume().walk()] == [
        (b"/", 2),
        (b"/usr", 12),
        (b"/usr/lib", 13),
        (b"/usr/lib/libc.so.6", 14),
        (b"/usr/lib/self", 25),
        (b"/usr/up", 24),
        (b"/usr/home", 26),
        (b"/lib", 20),
        (b"/loop", 21),
        (b"/abs", 22),
        (b"/dangling", 23),
        (b"/file", 14),
    ]


@pytest.mark.parametrize("loops_to", [2, 12, 13])
def test_a_directory_met_twice_is_damage(tree: TinyImage, loops_to: int) -> None:
    tree.directory(13, {b".": 13, b"..": 12, b"again": loops_to})
    with pytest.raises(
        Ext2FormatError, match=f"directory inode {loops_to}: second name: found '/usr/lib/again', wanted one"
    ):
        list(tree.volume().walk())


def test_a_path_without_end() -> None:
    image = TinyImage(blocks=1200, inodes=1024)
    name = b"n" * 255
    for number in range(12, 300):
        image.directory(number, {b".": number, name: number + 1})
    image.directory(2, {b".": 2, name: 12})
    with pytest.raises(KernelError) as caught:
        list(image.volume().walk())
    assert caught.value.errno == ENAMETOOLONG


@pytest.mark.parametrize("fields", [{"i_mode": 0o100644}, {"i_blocks": 0}, {"i_size": 0}])
def test_a_root_that_the_kernel_would_not_mount(fields: dict[str, Any]) -> None:
    image = TinyImage()
    image.inode(2, **fields)
    lines: list[str] = []
    volume: Volume = image.volume(log=lambda _level, line: lines.append(line))
    with pytest.raises(KernelError, match="corrupt root inode, run e2fsck") as caught:
        volume.resolve(b"/")
    assert caught.value.errno == EINVAL
    assert lines == ["EXT2-fs (dcssblk0): error: corrupt root inode, run e2fsck"]
