"""What an image of a tar holds is what GNU tar extracts, or building it is an error that says why."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_support import Read, build
from tar_support import END, header, padded, pax

from dcss.config.sources import TarSource
from dcss.errors import ImageError

GNU = b"ustar  \0"
FIRST = header(b"first", size_bytes=1) + padded(b"1")
AFTER = header(b"after", size_bytes=2) + padded(b"ok")

GOOD = {
    "incremental directory": header(b"d/", b"D", 4, mode=0o755, magic=GNU, prefix=b"012") + padded(b"Ya\0\0") + AFTER,
    "GNU times where ustar has a prefix": header(b"f", magic=GNU, prefix=b"15112345670"),
    "V7 has no prefix": header(b"f", magic=b"", prefix=b"junk"),
    "ustar has a prefix": header(b"f", prefix=b"some/where"),
    "V7 directory with a size": header(b"d/", b"\0", 512, magic=b"", mode=0o755) + AFTER,
    "directory of type 0": header(b"d/", b"0", mode=0o755) + AFTER,
    "label": header(b"label", b"V", magic=GNU) + AFTER,
    "contiguous file": header(b"f", b"7", 3) + padded(b"abc") + AFTER,
    "unknown type": header(b"f", b"Z", 3) + padded(b"abc") + AFTER,
    "hard link with a size": FIRST + header(b"h", b"1", 9, link=b"first") + AFTER,
    "hard link to itself": FIRST + header(b"first", b"1", link=b"first"),
    "hard link to a symbolic link": header(b"s", b"2", link=b"x") + header(b"h", b"1", link=b"s"),
    "symbolic link with a size": header(b"s", b"2", 5, link=b"x") + AFTER,
    "negative time": header(b"f", mtime_s=-86400) + AFTER,
    "pax time before 1970": pax((b"mtime", b"-1.5")) + header(b"f") + AFTER,
    "pax size": pax((b"size", b"3")) + header(b"f") + padded(b"abc") + AFTER,
    "pax path that is not UTF-8": pax((b"hdrcharset", b"BINARY"), (b"path", b"\xff\xfe"), (b"linkpath", b"\xfd"))
    + header(b"f", b"2", link=b"x"),
    "pax global header": pax((b"mtime", b"77"), (b"comment", b"x"), kind=b"g") + header(b"f") + AFTER,
    "long name": header(b"@", b"L", 151, magic=GNU) + padded(b"n" * 150 + b"\0") + header(b"f", magic=GNU) + AFTER,
    "long link": header(b"@", b"K", 151, magic=GNU) + padded(b"n" * 150 + b"\0") + header(b"f", b"2", magic=GNU),
    "the last of a name wins": FIRST + header(b"first", size_bytes=2) + padded(b"22"),
    "a file becomes a directory": FIRST + header(b"first/", b"5", mode=0o755) + header(b"first/x"),
    "an empty directory becomes a file": header(b"d/", b"5", mode=0o755) + header(b"d", size_bytes=1) + padded(b"1"),
    "a link becomes a directory": header(b"d/", b"5", mode=0o755) + header(b"s", b"2", link=b"d")
    + header(b"s/", b"5", mode=0o700) + header(b"s/f"),
    "a file through a link": header(b"d/", b"5", mode=0o755) + header(b"s", b"2", link=b"d") + header(b"s/f"),
    "an absolute name": header(b"/f") + AFTER,
    "sparse 0.1 with a realsize": pax((b"GNU.sparse.realsize", b"9"), (b"GNU.sparse.numblocks", b"2"),
    (b"GNU.sparse.map", b"4,3,9,0")) + header(b"s", size_bytes=3) + padded(b"abc"),
    "sparse 0.0": pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.offset", b"4"),
    (b"GNU.sparse.numbytes", b"3"), (b"GNU.sparse.offset", b"9"), (b"GNU.sparse.numbytes", b"0"))
    + header(b"s", size_bytes=3) + padded(b"abc"),
    "sparse 1.0 with a size": pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"s"),
    (b"GNU.sparse.size", b"9")) + header(b"x", size_bytes=515) + padded(b"2\n4\n3\n9\n0\n") + padded(b"abc"),
    "one block of zeros ends it": AFTER + bytes(512) + FIRST,
    "a second archive is not read": AFTER + END + FIRST,
}  # fmt: skip

BAD = {
    "no target": (header(b"s", b"2") + AFTER, "s: found a symbolic link without a target"),
    "major": (header(b"c", b"3", device=(5000, 5)), "c: device 5000:5, ext2 holds major numbers 0 to 4095"),
    "minor": (header(b"b", b"4", device=(1, 1 << 20)), "minor numbers 0 to 1048575"),
    "volume": (FIRST + header(b"x", b"M", 1) + padded(b"1"), "x is continued from another volume"),
    "missing target": (header(b"h", b"1", link=b"gone"), "h is a hard link to gone"),
    "later target": (header(b"h", b"1", link=b"first") + FIRST, "h is a hard link to first"),
    "leads out": (header(b"../x"), "wanted a path without .."),
    "cut short": (header(b"f", size_bytes=600) + bytes(512), "cut short"),
    "half a header": (AFTER + header(b"f")[:100], "cut short"),
    "garbage": (AFTER + b"x" * 512, "header at byte 1024: "),
    "owner": (pax((b"uid", b"4294967296")) + header(b"f"), "f: owner 4294967296:0, wanted numbers of 32 bits"),
    "pax record": (header(b"p", b"x", 9) + padded(b"99 path=a") + header(b"f"), "wanted LENGTH KEY=VALUE"),
    "pax number": (pax((b"uid", b"root")) + header(b"f"), "uid: found b'root', wanted a number"),
    "pax alone": (pax((b"path", b"x")), "without the member it is of"),
    "no name": (header(b""), "names the root"),
    "sparse without size": (
        pax((b"GNU.sparse.map", b"4,3,9,0")) + header(b"s", size_bytes=3) + padded(b"abc"),
        "found no GNU.sparse.realsize, wanted its size",
    ),
    "sparse without map": (
        pax((b"GNU.sparse.realsize", b"9")) + header(b"s", size_bytes=3) + padded(b"abc"),
        "found 512 bytes of sparse data with their padding, wanted 0",
    ),
    "sparse numblocks": (
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", b"1"), (b"GNU.sparse.map", b"0,3,9,0"))
        + header(b"s", size_bytes=3)
        + padded(b"abc"),
        "found 2 stretches in its map, wanted 1: its numblocks",
    ),
    "sparse comma": (
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,3,9,0,")) + header(b"s", size_bytes=3) + padded(b"abc"),
        "found b'' in its map, wanted a number",
    ),
    "sparse pairs": (
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.numbytes", b"0"), (b"GNU.sparse.offset", b"3"))
        + header(b"s", size_bytes=3)
        + padded(b"abc"),
        "found records of its map out of order, wanted offset, numbytes",
    ),
    "sparse order": (
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"4,3,0,2"))
        + header(b"s", size_bytes=5)
        + padded(b"abcde"),
        "wanted it between 7 and 9",
    ),
    "sparse size": (
        pax((b"GNU.sparse.size", b"9000"), (b"GNU.sparse.map", b"0,3000"))
        + header(b"s", size_bytes=5)
        + padded(b"abcde"),
        "found 512 bytes of sparse data with their padding, wanted 3000",
    ),
}

Shown = dict[bytes, tuple[object, ...]]


def extracted(archive: Path, target: Path) -> Shown | None:
    """Return what GNU tar makes of an archive, or None where it fails."""
    target.mkdir()
    command = ["tar", "-x", "-f", str(archive), "--xattrs", "-p"]
    done = subprocess.run(command, cwd=target, capture_output=True, check=False)
    return None if done.returncode else dict(_host_files(os.fsencode(target)))


def _host_files(top: bytes) -> list[tuple[bytes, tuple[object, ...]]]:
    files: list[tuple[bytes, tuple[object, ...]]] = []
    for directory, inner, others in os.walk(top):
        for name in inner + others:
            path = directory + b"/" + name
            found = os.lstat(path)
            content: bytes | None = None
            if stat.S_ISREG(found.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(found.st_mode):
                content = os.readlink(path)  # noqa: PTH115 - a Path holds no bytes
            links = 0 if stat.S_ISDIR(found.st_mode) else found.st_nlink
            mode = stat.S_IFMT(found.st_mode) if stat.S_ISLNK(found.st_mode) else found.st_mode
            files.append((path[len(top) :], (mode, links, content)))
    return files


def shown(image: Path) -> Shown:
    read = Read(image)
    return {
        path: (
            stat.S_IFMT(inode.mode) if inode.is_symlink else inode.mode,
            0 if inode.is_dir else inode.links_count,
            read.content.get(path, read.targets.get(path)),
        )
        for path, inode in read.inodes.items()
        if path not in (b"/", b"/lost+found")
    }


@pytest.mark.parametrize("name", GOOD)
def test_the_tree_is_the_one_that_tar_extracts(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "x.tar"
    archive.write_bytes(GOOD[name] + END)
    wanted = extracted(archive, tmp_path / "out")
    assert wanted is not None, "tar refuses it"
    build(TarSource(archive), tmp_path / "x.img")
    assert shown(tmp_path / "x.img") == wanted


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_kept_is_an_error_that_says_why(tmp_path: Path, name: str) -> None:
    raw, message = BAD[name]
    (tmp_path / "x.tar").write_bytes(raw)
    with pytest.raises(ImageError, match=r"x\.tar") as caught:
        build(TarSource(tmp_path / "x.tar"), tmp_path / "x.img")
    assert message in str(caught.value)
    assert not (tmp_path / "x.img").exists()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data(), name=st.sampled_from(sorted(GOOD)))
def test_a_changed_archive_gives_an_image_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    raw = bytearray(GOOD[name] + END)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, len(raw) // 512 - 1)) * 512
    block = bytes(raw[start : start + 512])
    if any(block):  # most changes would only make the checksum wrong
        raw[start + 148 : start + 156] = b"%06o\0 " % sum(block[:148] + b" " * 8 + block[156:])
    directory = tmp_path_factory.mktemp("changed")
    (directory / "x.tar").write_bytes(raw)
    try:
        build(TarSource(directory / "x.tar"), directory / "x.img")
    except ImageError:
        return
    Read(directory / "x.img")
