"""The kernel and its modules: copied into the module area, from a file system in place too, and counted."""

from collections.abc import Iterator
from errno import EEXIST, ENOENT, ENOEXEC, ENOMEM
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from shell_support import out
from tree_support import mke2fs

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.kernel import Kernel
from vmguest.module import LoadedModule, module_name

pytestmark = needs("mke2fs")
DRIVER = b"\x7fELF" + bytes(range(256)) * 100
KERNEL = b"kernel" * 20_000


@pytest.fixture
def kernel(control_program: BlockingCp, tmp_path: Path) -> Iterator[Kernel]:
    tree = tmp_path / "tree"
    (tree / "boot").mkdir(parents=True)
    (tree / "boot" / "vmlinuz-3.13").write_bytes(KERNEL)
    (tree / "some-driver.ko").write_bytes(DRIVER)
    (tree / "empty.ko").touch()
    (tree / "huge.ko").write_bytes(bytes(6 << 20))
    control_program.publish(
        definition("LIB", "20000-20FFF SR"), fill_with(mke2fs(tree, tmp_path / "image", size="16M"))
    )
    with guest_kernel(control_program, storage_bytes=4 << 20) as kernel:
        kernel.dcssblk.load_module("LIB")
        kernel.mount("dcssblk0", "/", ("ro", "xip"))
        yield kernel


def load(kernel: Kernel, path: bytes) -> LoadedModule:
    return kernel.modules.load(kernel.vfs, kernel.vfs.resolve(path))


def refused(kernel: Kernel, path: bytes) -> int | None:
    with pytest.raises(KernelError) as caught:
        load(kernel, path)
    return caught.value.errno


def test_what_is_loaded_lies_in_the_module_area_and_takes_storage(kernel: Kernel) -> None:
    free_bytes = kernel.machine.storage.free_bytes
    driver, image = load(kernel, b"/some-driver.ko"), load(kernel, b"/boot/vmlinuz-3.13")
    area = kernel.machine.reservation
    for loaded, content in ((driver, DRIVER), (image, KERNEL)):
        assert bytes(hostmem.view(loaded.address, loaded.size_bytes)) == content
        assert area.module_area <= loaded.address < area.module_area + area.module_area_bytes
    pages = hostmem.pages(len(DRIVER)) + hostmem.pages(len(KERNEL))
    assert kernel.counters().module_bytes == pages * PAGE_SIZE
    assert free_bytes - kernel.machine.storage.free_bytes == pages * PAGE_SIZE
    assert kernel.counters().page_cache_bytes == 0  # it is read in place


def test_proc_lists_it(kernel: Kernel) -> None:
    assert out(kernel, "cat /proc/modules") == b""
    loaded = load(kernel, b"/some-driver.ko")
    assert out(kernel, "cat /proc/modules") == b"some_driver %d 0 - Live %#018x\n" % (len(DRIVER), loaded.address)
    assert b"VmallocUsed:          28 kB\n" in out(kernel, "cat /proc/meminfo")


def test_unloading_gives_everything_back(kernel: Kernel) -> None:
    out(kernel, "ls /proc")
    free_bytes = kernel.machine.storage.free_bytes
    address = load(kernel, b"/some-driver.ko").address
    kernel.modules.unload("some_driver")
    assert kernel.machine.storage.free_bytes == free_bytes
    assert kernel.counters().module_bytes == 0
    assert load(kernel, b"/some-driver.ko").address == address
    with pytest.raises(KernelError) as caught:
        kernel.modules.unload("nosuch")
    assert caught.value.errno == ENOENT


def test_what_cannot_be_loaded_leaves_nothing(kernel: Kernel) -> None:
    load(kernel, b"/some-driver.ko")
    free_bytes, pages = kernel.machine.storage.free_bytes, kernel.modules.pages
    assert refused(kernel, b"/some-driver.ko") == EEXIST
    assert refused(kernel, b"/empty.ko") == ENOEXEC
    assert refused(kernel, b"/huge.ko") == ENOMEM
    assert (kernel.machine.storage.free_bytes, kernel.modules.pages) == (free_bytes, pages)


@pytest.mark.parametrize(
    ("file_name", "name"),
    [(b"a.ko", "a"), (b"b-c.ko.xz", "b_c"), (b"vmlinuz-3.13", "vmlinuz_3.13"), (b"\xff", "\udcff")],
)
def test_names_are_as_the_kernel_makes_them(file_name: bytes, name: str) -> None:
    assert module_name(file_name) == name
