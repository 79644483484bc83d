"""Debian's s390x kernel as a guest of engine linux, from launch to a mounted segment, beside its boot in bare QEMU.

Full mode only: the kernel's package is downloaded where it is not cached.
"""

import subprocess
import time
from functools import partial
from pathlib import Path

from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.session import Session
from dcss.config.load import load_plan
from dcss.config.sources import DebianKernel
from dcss.engines.linux.qemu import PROGRAMS
from dcss.engines.linux.qemu_version import unusable_because
from dcss.errors import DcssError
from dcss.kernels.cpio import archive, regular
from dcss.kernels.find import find_kernel
from dcss.kernels.initramfs import initramfs
from dcss.kernels.kernel import Kernel

ARCH, BARE = "s390x", "bare QEMU"
SUITE = "bookworm"
MEBIBYTES, LIMIT_SECONDS = 256, 120
STARTED = "INIT HAS STARTED ALL"
SPEC = RowSpec(
    "boot",
    "s",
    "time",
    "one guest, from its launch to its segment mounted with dax, and all that comes before it is ready; QEMU's from its"
    " start until the same /init has loaded the same modules, and its end",
    "publication; QEMU's mounts nothing",
    wanted_ratio=(BARE, 1.6),
)
CONFIG = """\
system: {system}
segments: [{{name: LIB, at: 0x10000000, image: {{directory: {tree}}}}}]
guests:
  - name: L
    engine: linux
    arch: s390x
    storage: {mebibytes}M
    kernel: {{debian: {{suite: {suite}}}}}
    mounts: [{{device: dcssblk0, at: /mnt, options: [ro, xip]}}]
"""


def run(session: Session) -> list[Row]:
    """Boot both in turn."""
    with session.directory("linux-boot") as directory:
        subjects = {"dcss": partial(_guest, session, directory), BARE: partial(_bare, session, directory)}
        return compare("linux-boot", [SPEC], subjects, rounds=5)


def _config(session: Session, directory: Path) -> Path:
    """Write the system's YAML; what fetches the kernel is not measured."""
    if session.quick:
        raise Unavailable("starts virtual machines, so it is measured in the full mode only")
    reason = unusable_because(PROGRAMS[ARCH])
    if reason is not None:
        raise Unavailable(reason)
    path, tree = directory / "system.yaml", directory / "tree"
    if not path.exists():
        tree.mkdir()
        (tree / "file").write_bytes(bytes(range(256)) * 4096)
        system = f"linux-boot-{session.name}"
        path.write_text(CONFIG.format(system=system, tree=tree, mebibytes=MEBIBYTES, suite=SUITE))
        _kernel()
    return path


def _kernel() -> Kernel:
    try:
        return find_kernel(DebianKernel(SUITE, None), ARCH)
    except DcssError as error:
        raise Unavailable(str(error)) from error


def _guest(session: Session, directory: Path) -> Sample:
    with session.served("system", str(_config(session, directory))) as served:
        return {SPEC.name: served.ready["ready"]}


def _bare(session: Session, directory: Path) -> Sample:
    (plan,) = load_plan(_config(session, directory)).guests
    kernel, initrd = _kernel(), directory / "initrd"
    own = archive([regular("dcss/plan", f"echo {STARTED}; poweroff -f\n".encode())])  # in place of the guest's
    initrd.write_bytes(initramfs(kernel, ARCH, plan).archive + own)
    command = [
        PROGRAMS[ARCH],
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "s390-ccw-virtio", "-accel", "tcg", "-cpu", "max", "-m", f"{MEBIBYTES}M"),
        *("-chardev", "stdio,id=console,signal=off", "-device", "sclpconsole,chardev=console"),
        *("-device", "virtio-serial-ccw", "-kernel", str(kernel.image), "-initrd", str(initrd)),
        *("-append", "console=ttysclp0 init_on_free=1 panic=-1"),
    ]
    began = time.monotonic()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_SECONDS, check=True)
    except subprocess.SubprocessError as error:
        raise Unavailable(f"QEMU: {error}") from error
    seconds = time.monotonic() - began
    if STARTED.encode() not in done.stdout:
        raise Unavailable(f"QEMU: found no {STARTED!r} on its console")
    return {SPEC.name: seconds}
