"""A kernel's modules: in which order they are loaded, and how they are packed."""

import gzip
import lzma
import struct
from pathlib import Path

import pytest

from dcss.errors import ImageError
from dcss.kernels.modules import Modules, depends, module_name


def module(*needed: str, more: bytes = b"license=GPL\0") -> bytes:
    """Return an ELF file (64 bits, big-endian) with a section .modinfo and the names of sections."""
    info = more + b"depends=" + ",".join(needed).encode() + b"\0name=x\0"
    names = b"\0.modinfo\0.shstrtab\0"
    at = 64
    sections = bytes(64)
    sections += struct.pack(">IIQQQQIIQQ", 1, 1, 2, 0, at, len(info), 0, 0, 1, 0)
    sections += struct.pack(">IIQQQQIIQQ", 10, 3, 0, 0, at + len(info), len(names), 0, 0, 1, 0)
    head = b"\x7fELF\x02\x02\x01" + bytes(9)
    start = at + len(info) + len(names)
    head += struct.pack(">HHIQQQIHHHHHH", 1, 22, 1, 0, 0, start, 0, 64, 0, 0, 64, 3, 2)
    return head + info + names + sections


def build(directory: Path, **modules: tuple[str, ...]) -> Modules:
    (directory / "kernel").mkdir()
    for name, needed in modules.items():
        (directory / f"kernel/{name.replace('_', '-')}.ko").write_bytes(module(*needed))
    return Modules(directory)


def test_each_comes_after_what_it_needs(tmp_path: Path) -> None:
    modules = build(tmp_path, ext4=("jbd2", "crc-16"), jbd2=(), crc_16=(), dcss_blk=(), other=())
    assert modules.in_order(["dcss_blk", "ext4", "not_there", "jbd2"]) == ["dcss_blk", "jbd2", "crc_16", "ext4"]


def test_modules_dep_is_believed_where_there_is_one(tmp_path: Path) -> None:
    modules = build(tmp_path, a=(), b=(), c=())
    (tmp_path / "modules.dep").write_text(
        "kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\n"
    )
    assert modules.in_order(["a"]) == ["c", "b", "a"]


def test_a_circle_is_named(tmp_path: Path) -> None:
    modules = build(tmp_path, a=("b",), b=("a",))
    with pytest.raises(ImageError, match="modules a, b: each needs the next"):
        modules.in_order(["a"])


def test_packed_modules_are_unpacked(tmp_path: Path) -> None:
    content = module("y")
    (tmp_path / "x.ko.xz").write_bytes(lzma.compress(content))
    (tmp_path / "y.ko.gz").write_bytes(gzip.compress(module()))
    modules = Modules(tmp_path)
    assert modules.in_order(["x"]) == ["y", "x"]
    assert modules.content("x") == content


def test_what_is_no_module_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.ko").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"module .*/x\.ko: found no ELF file"):
        Modules(tmp_path).in_order(["x"])
    with pytest.raises(ImageError, match=r"found no section \.modinfo"):
        depends(module().replace(b".modinfo", b".nothing"), "x")


@pytest.mark.parametrize(
    ("file_name", "name"), [("a-b.ko", "a_b"), ("a.ko.zst", "a"), ("a.ko.bz2", None), ("modules.dep", None)]
)
def test_names_of_modules(file_name: str, name: str | None) -> None:
    assert module_name(file_name) == name
