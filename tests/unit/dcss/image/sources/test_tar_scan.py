"""What a scan keeps of a tar: members, documents of container images, and a word about what is left out."""

import os
import stat

import pytest
from tar_support import END, header, padded, pax

from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeFile, TreeSpecial, TreeSymlink
from dcss.image.sources.archive import Archive, in_memory
from dcss.image.sources.tar_scan import TarScan, scan

MEGABYTE = 1 << 20
FILE = header(b"file", size_bytes=1) + padded(b"x")


def scanned(content: bytes) -> TarScan:
    return scan(in_memory("x.tar", content))


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (b"", 0),
        (bytes(3 * MEGABYTE), 0),
        (b"y", 1),
        (bytes(9) + b"y" + bytes(9), 10),
        (bytes(MEGABYTE) + b"y", MEGABYTE + 1),
        (bytes(MEGABYTE - 1024) + b"y" + bytes(2 * MEGABYTE), MEGABYTE - 1023),
        (b"y" * (2 * MEGABYTE + 5), 2 * MEGABYTE + 5),
        (b"y" + bytes(2 * MEGABYTE) + b"y" + bytes(5), 2 * MEGABYTE + 2),
    ],
)
def test_what_comes_after_the_end_is_measured(rest: bytes, said: int) -> None:
    notes = scanned(FILE + END + rest).notes
    # A tar ends with one block of zeros; the second counts as what comes after.
    said += 512 if said else 0
    assert notes == (
        [
            f"x.tar: up to {said} bytes after the end of the tar were left out; if they are another archive, unpack"
            " both (tar -i)"
        ]
        if said
        else []
    )


def test_zeros_and_then_something_else_are_no_tar() -> None:
    for rest, said in ((b"y", 513), (bytes(MEGABYTE) + b"y", MEGABYTE + 513)):
        with pytest.raises(ImageError, match=f"x.tar is no tar: found zeros and then up to {said} bytes of something"):
            scanned(END + rest)
    assert scanned(END).members == []
    with pytest.raises(ImageError, match=r"x.tar is no tar: it is empty"):
        scanned(b"")


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        (b"manifest.json", b"[1]", True),
        (b"./index.json", b"{}", True),
        (b"oci-layout", b"{}", True),
        (b"blobs/sha256/x", b"{}", True),
        (b"sub/manifest.json", b"{}", False),
        (b"manifest.yaml", b"{}", False),
        (b"oci-layout2", b"{}", False),
        (b"manifest.json", b"text", False),
        (b"manifest.json", b"", False),
    ],
)
def test_documents_are_kept(name: bytes, content: bytes, kept: bool) -> None:
    found = scanned(header(name, size_bytes=len(content)) + padded(content) + FILE + END)
    plain = name.decode().removeprefix("./")
    assert found.documents == ({plain: content} if kept else {})
    assert len(found.members) == 2


def read(archive: Archive) -> bytes:
    with archive.open() as stream:
        return stream.read()


def test_a_part_is_a_member_or_what_a_link_leads_to() -> None:
    content = (
        FILE
        + header(b"./a/layer.tar", size_bytes=5)
        + padded(b"layer")
        + header(b"b/layer.tar", b"2", link=b"../a/layer.tar")
        + header(b"c/layer.tar", b"2", link=b"../b/layer.tar")
        + header(b"empty")
        + header(b"d", b"5")
        + END
    )
    found = scanned(content)
    assert read(found.part("a/layer.tar")) == read(found.part("b/layer.tar")) == b"layer"
    assert found.part("a/layer.tar").name == "x.tar: a/layer.tar"
    assert read(found.part("empty")) == b""
    for name in ("none", "d", "c/layer.tar"):  # links to links are followed once
        with pytest.raises(ImageError, match=r"x.tar: found no layer .*, which its manifest names; save it again"):
            found.part(name)


def test_members_of_every_kind() -> None:
    found = scanned(
        header(b"f", size_bytes=3, mode=0o4755, mtime_s=7)
        + padded(b"abc")
        + header(b"l", b"2", link=b"to")
        + header(b"h", b"1", link=b"f")
        + header(b"c", b"3", device=(4095, 1048575))
        + header(b"p", b"6", device=(9, 9))
        + END
    ).members
    file, link, hard, device, fifo = (member.node for member in found)
    assert isinstance(file, TreeFile)
    assert (file.size_bytes, file.attributes.mode, file.attributes.mtime_s) == (3, stat.S_IFREG | 0o4755, 7)
    assert isinstance(link, TreeSymlink)
    assert link.target == b"to"
    assert (hard, found[2].link_to) == (None, b"f")
    assert isinstance(device, TreeSpecial)
    assert device.rdev == os.makedev(4095, 1048575)
    assert isinstance(fifo, TreeSpecial)
    assert fifo.rdev == 0


@pytest.mark.parametrize("device", [(4096, 0), (0, 1048576)])
def test_devices_that_ext2_does_not_hold(device: tuple[int, int]) -> None:
    with pytest.raises(
        ImageError, match=f"x.tar: c: device {device[0]}:{device[1]}, ext2 holds major numbers 0 to 4095"
    ):
        scanned(header(b"c", b"3", device=device) + END)


@pytest.mark.parametrize("key", [b"uid", b"gid"])
def test_owners_are_numbers_of_32_bits(key: bytes) -> None:
    (member,) = scanned(pax((key, b"4294967295")) + FILE + END).members
    assert member.node is not None
    assert getattr(member.node.attributes, key.decode()) == 4294967295
    for number in (b"4294967296", b"-1"):
        with pytest.raises(ImageError, match=r"x.tar: file: owner .*, wanted numbers of 32 bits"):
            scanned(pax((key, number)) + FILE + END)


def test_a_link_without_a_target_is_refused() -> None:
    with pytest.raises(ImageError, match="found a symbolic link without a target"):
        scanned(header(b"l", b"2") + END)


def test_names_are_looked_up_without_their_dot() -> None:
    found = scanned(header(b"./a", size_bytes=0) + FILE + END)
    assert list(found.names()) == ["a", "file"]
    assert [found.has(name) for name in ("a", "file", "./a", "b")] == [True, True, False, False]
