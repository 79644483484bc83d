"""Programs and packages that some engines or checks need."""

from dcss.doctor.machine import Finding, Machine

_MIN_PYTHON = (3, 11)
_E2FSPROGS = ("mke2fs", "e2fsck", "debugfs")


def python(machine: Machine) -> Finding:
    """The interpreter."""
    found = ".".join(map(str, machine.python))
    if machine.python >= _MIN_PYTHON:
        return Finding("Python", "ok", found)
    return Finding("Python", "missing", found, "everything: 3.11 or newer is needed", "sudo apt install python3.11")


def qemu(machine: Machine) -> Finding:
    """QEMU for both architectures of engine linux."""
    return _programs(
        machine,
        "QEMU",
        ("qemu-system-s390x", "qemu-system-x86_64"),
        "engine linux",
        "sudo apt install qemu-system-misc qemu-system-x86 (Fedora: dnf install qemu-system-s390x qemu-system-x86)",
    )


def e2fsprogs(machine: Machine) -> Finding:
    """What images are compared with."""
    return _programs(
        machine,
        "e2fsprogs",
        _E2FSPROGS,
        "the tests that let e2fsck and debugfs judge our images; nothing else",
        "sudo apt install e2fsprogs",
    )


def unicorn(machine: Machine) -> Finding:
    """The CPU of engine s390x."""
    version = machine.package_version("unicorn")
    if version is not None:
        return Finding("Unicorn", "ok", version)
    return Finding("Unicorn", "missing", "not installed", "engine s390x", "pip install unicorn")


def _programs(machine: Machine, name: str, programs: tuple[str, ...], limits: str, mend: str) -> Finding:
    versions = {program: machine.tool_version(program) for program in programs}
    absent = [program for program, version in versions.items() if version is None]
    present = list(dict.fromkeys(version for version in versions.values() if version is not None))
    if not absent:
        return Finding(name, "ok", "; ".join(present))
    found = "no " + ", no ".join(absent)
    if present:
        return Finding(name, "limit", f"{found}; {'; '.join(present)}", limits, mend)
    return Finding(name, "missing", found, limits, mend)
