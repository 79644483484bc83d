"""Check programs and packages that some engines or tests need."""

from dcss.doctor.host import Diagnosis, DoctorHost
from dcss.engines.s390x import unicorn

_MIN_PYTHON = (3, 11)
_E2FSPROGS = ("mke2fs", "e2fsck", "debugfs")


def python(host: DoctorHost) -> Diagnosis:
    """Check the interpreter's version."""
    found = ".".join(map(str, host.python))
    if host.python >= _MIN_PYTHON:
        return Diagnosis("Python", "ok", found)
    return Diagnosis("Python", "missing", found, "everything: 3.11 or newer is needed", "sudo apt install python3.11")


def qemu(host: DoctorHost) -> Diagnosis:
    """Check for QEMU for both architectures of engine linux."""
    return _programs(
        host,
        "QEMU",
        ("qemu-system-s390x", "qemu-system-x86_64"),
        "engine linux",
        "sudo apt install qemu-system-misc qemu-system-x86 (Fedora: dnf install qemu-system-s390x qemu-system-x86)",
    )


def kvm(host: DoctorHost) -> Diagnosis:
    """Check whether KVM may run x86_64 guests of engine linux; whether it can, the engine tries."""
    reason = host.no_kvm_because()
    if reason is None:
        return Diagnosis("KVM", "ok", "/dev/kvm opens; engine linux tries whether it runs a kernel")
    return Diagnosis(
        "KVM",
        "limit",
        reason,
        "the speed of x86_64 guests of engine linux: QEMU's translator runs them, many times slower",
        "sudo usermod -aG kvm $USER, and log in again; in a container: --device /dev/kvm; in a virtual machine: let"
        " its host allow nested ones",
    )


def qmp_package(host: DoctorHost) -> Diagnosis:
    """Check for qemu.qmp, by which CP speaks to QEMU."""
    version = host.package_version("qemu.qmp")
    if version is None:
        return Diagnosis("qemu.qmp", "missing", "not installed", "engine linux", "pip install 'dcss-emulator[linux]'")
    return Diagnosis("qemu.qmp", "ok", version)


def e2fsprogs(host: DoctorHost) -> Diagnosis:
    """Check for e2fsprogs, with which tests compare images."""
    return _programs(
        host,
        "e2fsprogs",
        _E2FSPROGS,
        "the tests that let e2fsck and debugfs judge our images; nothing else",
        "sudo apt install e2fsprogs",
    )


def unicorn_package(host: DoctorHost) -> Diagnosis:
    """Check for Unicorn, the CPU of engine s390x."""
    version = host.package_version(unicorn.PACKAGE)
    if version is None:
        return Diagnosis("Unicorn", "missing", "not installed", "engine s390x", unicorn.INSTALL)
    if not unicorn.is_recent(version):
        found = f"{version}, older than {unicorn.MINIMUM}"
        return Diagnosis("Unicorn", "missing", found, "engine s390x", unicorn.INSTALL)
    return Diagnosis("Unicorn", "ok", version)


def apt(host: DoctorHost) -> Diagnosis:
    """Check for apt, which finds and checks the packages of `debian:`."""
    return _programs(
        host,
        "apt",
        ("apt-get", "gpgv"),
        "debian: in image:, which makes images of Debian's packages",
        "sudo apt install apt gpgv (Fedora: dnf install apt gnupg2)",
    )


def _programs(host: DoctorHost, name: str, programs: tuple[str, ...], limits: str, mend: str) -> Diagnosis:
    versions = {program: host.tool_version(program) for program in programs}
    absent = [program for program, version in versions.items() if version is None]
    present = list(dict.fromkeys(version for version in versions.values() if version is not None))
    if not absent:
        return Diagnosis(name, "ok", "; ".join(present))
    found = "no " + ", no ".join(absent)
    if present:
        return Diagnosis(name, "limit", f"{found}; {'; '.join(present)}", limits, mend)
    return Diagnosis(name, "missing", found, limits, mend)
