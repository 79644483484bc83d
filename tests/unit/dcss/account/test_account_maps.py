"""/proc/PID/maps: every form of line that kernels print."""

import ctypes
import mmap
import os

import pytest

from dcss.account.maps import parse_line, parse_maps, read_maps


def test_file_mapping() -> None:
    vma = parse_line(b"7f1b5e400000-7f1b64800000 r--s 00003000 fd:1a 18446744073709551615 /dev/shm/dcss.demo.LIB")
    assert (vma.start, vma.end) == (0x7F1B5E400000, 0x7F1B64800000)
    assert vma.offset_bytes == 0x3000
    assert vma.object == (os.makedev(0xFD, 0x1A), 18446744073709551615)
    assert vma.path == b"/dev/shm/dcss.demo.LIB"
    assert vma.pages == 25600
    assert vma.shared
    assert not vma.writable


@pytest.mark.parametrize(
    ("line", "path", "shared", "writable"),
    [
        (b"7f00-8000 rw-p 00000000 00:00 0 ", b"", False, True),
        (b"7f00-8000 rw-p 00000000 00:00 0", b"", False, True),
        (b"7f00-8000 ---p 00000000 00:00 0                  [heap]", b"[heap]", False, False),
        (b"7f00-8000 rw-s 00000000 00:01 1035   /memfd:a b (deleted)", b"/memfd:a b (deleted)", True, True),
        (b"7f00-8000 rw-s 00000000 00:01 1   /SYSV00000000 (deleted)", b"/SYSV00000000 (deleted)", True, True),
        (b"7f00-8000 r-xp 00000000 08:01 7   /odd\\012name \xff", b"/odd\\012name \xff", False, False),
        (b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]", b"[vsyscall]", False, False),
    ],
)
def test_forms(line: bytes, path: bytes, shared: bool, writable: bool) -> None:
    vma = parse_line(line)
    assert (vma.path, vma.shared, vma.writable) == (path, shared, writable)


@pytest.mark.parametrize("line", [b"", b"Rss:   0 kB", b"7f00 rw-p 00000000 00:00 0", b"7f00-8000 rw- 0 00:00 0"])
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="wanted START-END PERMISSIONS"):
        parse_line(line)


def test_own_maps() -> None:
    descriptor = os.memfd_create("mine")
    os.ftruncate(descriptor, 3 * mmap.PAGESIZE)
    with mmap.mmap(descriptor, 0) as mapped:
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        status = os.fstat(descriptor)
        os.close(descriptor)
        vmas = read_maps(os.getpid())
        (vma,) = [vma for vma in vmas if vma.object == (status.st_dev, status.st_ino)]
        assert (vma.start, vma.pages, vma.shared) == (address, 3, True)
        assert vma.path == b"/memfd:mine (deleted)"
        assert vmas == sorted(vmas)


def test_lines_are_split_at_line_feeds_only() -> None:
    text = b"1000-2000 r--p 00000000 08:01 7   /a\rb\x0bc\n2000-3000 r--p 00000000 00:00 0 \n"
    assert [vma.path for vma in parse_maps(text)] == [b"/a\rb\x0bc", b""]
