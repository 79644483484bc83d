"""The initramfs of a Linux guest: busybox, the agent, the modules that it needs, one script, and the guest's plan."""

from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from dcss.config.plan import GuestPlan
from dcss.errors import ImageError
from dcss.kernels.cpio import Entry, archive, directory, regular
from dcss.kernels.guest_plan import plan_script
from dcss.kernels.kernel import Kernel

_GUEST: Final = Path(__file__).parent / "guest"
_DIRECTORIES: Final = ("bin", "dcss", "dev", "proc", "sys", "sysroot", "tmp", "etc")
_CONSOLE: Final = Entry("dev/console", 0o020600, device=(5, 1))
# What guests need of modules; what a kernel has built in, or has not, is left out.
_WANTED: Final = {
    "s390x": ("virtio_balloon", "virtio_console", "crc32c_generic", "crc32c", "ext4", "ext2", "dcssblk"),
    "x86_64": (
        "virtio_pci",
        "virtio_balloon",
        "virtio_console",
        "crc32c_generic",
        "crc32c",
        "ext4",
        "ext2",
        "nd_pmem",
        "virtio_pmem",
    ),
}


class Initramfs(NamedTuple):
    """The archives for one guest, and what those files hold that stay in its memory."""

    archive: bytes
    programs: tuple[bytes, ...]


def initramfs(kernel: Kernel, arch: str, plan: GuestPlan) -> Initramfs:
    """Return what one guest boots from, beside its kernel. Raises ImageError, ConfigError."""
    own = archive([regular("dcss/plan", plan_script(plan).encode())])
    return Initramfs(_common(kernel, arch) + own, (_read(kernel.busybox), _agent(arch)))


@lru_cache(8)
def _common(kernel: Kernel, arch: str) -> bytes:
    """Return the archive that the guests of a kernel have in common."""
    modules = kernel.modules.in_order(_WANTED[arch])
    entries = [directory(name) for name in _DIRECTORIES]
    entries += [
        _CONSOLE,
        regular("init", (_GUEST / "init").read_bytes(), executable=True),
        regular("bin/busybox", _read(kernel.busybox), executable=True),
        regular("bin/agent", _agent(arch), executable=True),
        regular("dcss/modules", "".join(f"{name}.ko\n" for name in modules).encode()),
        *(regular(f"dcss/{name}.ko", kernel.modules.content(name)) for name in modules),
    ]
    return archive(entries)


def _agent(arch: str) -> bytes:
    return (_GUEST / f"agent-{arch}").read_bytes()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"busybox {path}: cannot be read: {error.strerror}") from error
