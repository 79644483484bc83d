"""Kernels from an archive that the test makes: which packages are fetched, and what is taken from them."""

from pathlib import Path

import pytest
from debian_support import Deb, DebianArchive
from needs_support import needs

from dcss.config.sources import DebianKernel
from dcss.errors import ImageError
from dcss.kernels.debian import debian_kernel

pytestmark = needs("apt-get")

# What a machine that installs the kernel would need; the archive has the first only, and no file of it.
NEEDED = "kmod, initramfs-tools | linux-initramfs-tool"
BUSYBOX = Deb("busybox-static", {"/bin/busybox": b"busybox"}, "kmod")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DebianArchive:
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=stable\n")
    monkeypatch.setattr("dcss.image.sources.debian.packages._OS_RELEASE", tmp_path / "os-release")
    made = DebianArchive(tmp_path, monkeypatch)
    made.publish(
        BUSYBOX,
        Deb("linux-image-s390x", {}, "linux-image-6.1.0-50-s390x (= 1.0-1)"),
        Deb(
            "linux-image-6.1.0-50-s390x",
            {
                "/boot/vmlinuz-6.1.0-50-s390x": b"old image",
                "/lib/modules/6.1.0-50-s390x/kernel/fs/ext4/ext4.ko": b"ext4",
                "/lib/modules/6.1.0-50-s390x/kernel/net/other.ko": b"other",
            },
            NEEDED,
        ),
        Deb("linux-image-6.1.0-9-s390x", {"/boot/vmlinuz-6.1.0-9-s390x": b"older image"}),
        Deb("kmod", {}),
    )
    next((made.root / "pool").glob("kmod_*")).unlink()
    return made


def test_a_kernel_comes_without_what_a_machine_would_need_to_install_it(archive: DebianArchive) -> None:
    kernel = debian_kernel(DebianKernel("stable"), "s390x")
    assert kernel.image.read_bytes() == b"old image"
    assert kernel.label == "6.1.0-50-s390x (Debian's 1.0-1)"
    assert list(kernel.modules.files) == ["ext4"]
    assert kernel.busybox.read_bytes() == b"busybox"


def test_image_and_modules_in_packages_of_their_own_make_one_kernel(archive: DebianArchive) -> None:
    release = "/usr/lib/modules/7.2.13+deb14-s390x"
    archive.publish(
        BUSYBOX,
        Deb("linux-image-7.2.13+deb14-s390x", {}, f"linux-binary-7.2, linux-modules-7.2, {NEEDED}"),
        Deb("linux-binary-7.2", {f"{release}/vmlinuz": b"new image"}),
        Deb("linux-modules-7.2", {f"{release}/kernel/drivers/s390/block/dcssblk.ko": b"dcssblk"}),
    )
    kernel = debian_kernel(DebianKernel("stable", "linux-image-7.2.13+deb14-s390x"), "s390x")
    assert kernel.image.read_bytes() == b"new image"
    assert kernel.label.startswith("7.2.13+deb14-s390x ")
    assert kernel.modules.content("dcssblk") == b"dcssblk"


def test_where_a_kernel_cannot_be_had_others_of_the_suite_are_named(archive: DebianArchive) -> None:
    with pytest.raises(
        ImageError, match=r"Unable to locate package nosuch .*linux-image-6.1.0-50-s390x, linux-image-6"
    ):
        debian_kernel(DebianKernel("stable", "nosuch"), "s390x")
    next((archive.root / "pool").glob("linux-image-6.1.0-50*")).unlink()
    with pytest.raises(ImageError, match=r"linux-image-6.1.0-9-s390x: try another by package:"):
        debian_kernel(DebianKernel("stable"), "s390x")


def test_a_package_without_a_kernel_is_named(archive: DebianArchive) -> None:
    with pytest.raises(ImageError, match="package busybox-static: found no kernel in it"):
        debian_kernel(DebianKernel("stable", "busybox-static"), "s390x")
