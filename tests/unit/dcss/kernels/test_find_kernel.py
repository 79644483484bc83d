"""Files and directories that `kernel:` names: a build, an image, and what is neither."""

from pathlib import Path

import pytest

from dcss.config.sources import KernelFile
from dcss.errors import ImageError
from dcss.kernels import find

S390X = bytes(0x10008) + b"S390EP" + bytes(100)
X86_64 = bytes(0x202) + b"HdrS" + bytes(100)


@pytest.fixture(autouse=True)
def no_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(find, "debian_busybox", lambda _: tmp_path / "busybox")


def test_the_directory_of_a_build_has_image_and_modules(tmp_path: Path) -> None:
    (tmp_path / "arch/s390/boot").mkdir(parents=True)
    (tmp_path / "arch/s390/boot/bzImage").write_bytes(S390X)
    (tmp_path / "drivers/s390/block").mkdir(parents=True)
    (tmp_path / "drivers/s390/block/dcssblk.ko").write_bytes(b"module")
    kernel = find.find_kernel(KernelFile(tmp_path), "s390x")
    assert kernel.image == tmp_path / "arch/s390/boot/bzImage"
    assert list(kernel.modules.files) == ["dcssblk"]


def test_an_image_alone_has_the_modules_beside_it_if_any(tmp_path: Path) -> None:
    (tmp_path / "bzImage").write_bytes(S390X)
    kernel = find.find_kernel(KernelFile(tmp_path / "bzImage"), "s390x")
    assert kernel.image == tmp_path / "bzImage"
    assert kernel.modules.in_order(["dcssblk"]) == []


@pytest.mark.parametrize(
    ("content", "arch", "found"),
    [
        (X86_64, "s390x", "found a kernel for x86_64, wanted an image .* for arch: s390x"),
        (S390X, "x86_64", "found a kernel for s390x, wanted an image .* for arch: x86_64"),
        (b"\x7fELF" + bytes(100), "s390x", "found an ELF file, such as vmlinux"),
        (b"#!/bin/sh\n", "s390x", "found no kernel"),
        (b"", "x86_64", "found no kernel"),
    ],
)
def test_a_file_that_cannot_be_booted_is_told(tmp_path: Path, content: bytes, arch: str, found: str) -> None:
    (tmp_path / "bzImage").write_bytes(content)
    with pytest.raises(ImageError, match=f"bzImage: {found}"):
        find.find_kernel(KernelFile(tmp_path / "bzImage"), arch)


def test_a_directory_without_an_image_and_no_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"found none of arch/s390/boot/bzImage, .*wanted a kernel's image"):
        find.find_kernel(KernelFile(tmp_path), "s390x")
    with pytest.raises(ImageError, match="found no such file, wanted a kernel's image or the directory of a build"):
        find.find_kernel(KernelFile(tmp_path / "nosuch"), "s390x")
