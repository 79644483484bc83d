"""What tests need of a machine: a missing need skips with its reason, and fails in CI unless it may be missing."""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from cli_support import others_python

from dcss.account.frames import hidden_because
from dcss.account.huge import no_huge_pages_because
from dcss.account.pagemap import Pagemap
from dcss.config.sources import DebianSource
from dcss.errors import ImageError
from dcss.image.sources.debian.packages import fetch_packages

TOOLS = (
    *("mke2fs", "e2fsck", "debugfs", "dumpe2fs", "losetup", "tmux", "gcc", "ldd", "groff", "make", "umoci", "skopeo"),
    *("qemu-system-s390x", "qemu-system-x86_64", "cpio"),
    *("ldconfig", "tar", "apt-get", "dpkg-deb", "prometheus", "promtool", "gpg", "qemu-s390x", "qemu-s390x-static"),
    *("s390x-linux-gnu-as", "s390x-linux-gnu-gcc", "nginx", "gdb-multiarch", "chromium", "virt-xml-validate"),
    "openssl",
)


def tool(name: str) -> str | None:
    """Return the path of a program, also of one in /sbin, which a user's PATH may lack."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _root() -> str | None:
    return None if os.geteuid() == 0 else "root"


def _other_users() -> str | None:
    return None if others_python() else "root, and an interpreter that other users may run"


def _frames() -> str | None:
    # Root without CAP_SYS_ADMIN, as in a container, may open the books and sees no frame numbers in them.
    reason = hidden_because()
    return None if reason is None else f"page frames to be visible: {reason}"


def _loop() -> str | None:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return "loop devices and root"
    return None


def _mounts() -> str | None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        return "root, and to be allowed a mount namespace of one's own"
    return None


def _fuse() -> str | None:
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "root and /dev/fuse"
    return _mounts()


def _pagemap_scan() -> str | None:
    touched = bytearray(1)
    with Pagemap(os.getpid()) as pagemap:
        try:
            pagemap._scan(id(touched) >> 12, 1)
        except OSError as error:
            return f"the ioctl PAGEMAP_SCAN (Linux 6.7): {error.strerror}"
    return None


def _aio() -> str | None:
    events = Path("/proc/sys/fs/aio-max-nr")
    if not events.exists():
        return "a kernel with asynchronous input and output (CONFIG_AIO)"
    return None if int(events.read_text()) >= 1 << 16 else f"fs.aio-max-nr of 65536, here {events.read_text().strip()}"


def _packets() -> str | None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return f"packet sockets (CAP_NET_RAW): {error.strerror}"
    return None


def _glibc() -> str | None:
    return None if hasattr(ctypes.CDLL(None), "mallopt") else "glibc, which overwrites freed memory"


def _large_memory() -> str | None:
    room_bytes = shutil.disk_usage("/dev/shm").free
    with Path("/proc/meminfo").open(encoding="ascii") as fields:
        available_kb = next(int(line.split()[1]) for line in fields if line.startswith("MemAvailable:"))
    if min(room_bytes, available_kb << 10) >= 4 << 30:
        return None
    return f"4 GiB of memory and of /dev/shm, here {available_kb >> 10} MiB and {room_bytes >> 20} MiB"


def _huge_pages() -> str | None:
    reason = no_huge_pages_because(Path("/dev/shm"))
    if reason is not None and os.geteuid() == 0:  # memory may be in pieces: others run on this machine too
        with suppress(OSError):
            Path("/proc/sys/vm/compact_memory").write_text("1")
        reason = no_huge_pages_because(Path("/dev/shm"))
    return None if reason is None else f"huge pages for shared memory: {reason}"


def _ksm() -> str | None:
    if os.geteuid() != 0 or not os.access("/sys/kernel/mm/ksm/run", os.W_OK):
        return "root, and a kernel with KSM"
    return None


def _kvm() -> str | None:
    return None if os.access("/dev/kvm", os.R_OK | os.W_OK) else "/dev/kvm"


def _virtual_machines() -> str | None:
    """Return what QEMU guests with this machine's kernel lack."""
    from benchmarks.cases.qemu.initramfs import find_kernel  # not there for programs beside the tests
    from benchmarks.framework.rounds import Unavailable

    absent = [name for name in ("qemu-system-x86_64", "busybox", "cpio") if tool(name) is None]
    if absent:
        return f"the programs {', '.join(absent)}"
    try:
        find_kernel()
    except Unavailable as error:
        return f"a kernel for guests: {error}"
    return None


def _postgresql() -> str | None:
    return None if list(Path("/usr/lib/postgresql").glob("*/bin/postgres")) else "Debian's PostgreSQL"


def _debian_archive() -> str | None:
    """Fetch one small package by the machine's apt, into the cache that is this user's in any case."""
    try:
        fetch_packages(DebianSource(("usr-is-merged",)))
    except ImageError as error:
        return f"apt, and an archive of Debian with s390x: {error}"
    return None


def _no_memory_group_because() -> str | None:
    from benchmarks.framework.control_group import no_memory_group_because  # not there for programs beside the tests

    return no_memory_group_because()


_CHECKS: dict[str, Callable[[], str | None]] = {
    "root": _root,
    "other_users": _other_users,
    "frames": _frames,
    "loop": _loop,
    "mounts": _mounts,
    "fuse": _fuse,
    "aio": _aio,
    "debian_archive": _debian_archive,
    "packets": _packets,
    "glibc": _glibc,
    "huge_pages": _huge_pages,
    "ksm": _ksm,
    "kvm": _kvm,
    "virtual_machines": _virtual_machines,
    "postgresql": _postgresql,
    "large_memory": _large_memory,
    "pagemap_scan": _pagemap_scan,
    "memory_group": _no_memory_group_because,
}


@cache
def missing(need: str) -> str | None:
    """Return what is missing for `need`, or None."""
    if need in _CHECKS:
        return _CHECKS[need]()
    if need in TOOLS:
        return None if tool(need) else f"the program {need}"
    raise KeyError(f"need {need!r}: found none of that name, wanted one of {[*_CHECKS, *TOOLS]}")


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark a test (or, as `pytestmark`, a module) with what it cannot run without."""
    return pytest.mark.needs(*names)


def may_skip(need: str) -> bool:
    """Outside CI everything may be missing; there, what DCSS_MAY_SKIP names."""
    return os.environ.get("CI") != "true" or need in os.environ.get("DCSS_MAY_SKIP", "").split(",")


def skip_for(need: str, reason: str) -> NoReturn:
    """End the test, which cannot run for `reason`: skipped, or failed where `need` must be there."""
    if may_skip(need):
        pytest.skip(f"needs {reason}")
    pytest.fail(f"needs {reason}; in CI only what DCSS_MAY_SKIP names may be missing", pytrace=False)
