"""Doctor on hosts that do not exist: fake /proc and /sys trees, tools and limits."""

import resource
import shlex
from pathlib import Path

import pytest

from dcss.doctor import kernel, resources, tools
from dcss.doctor.examine import CHECKS, examine
from dcss.doctor.host import Diagnosis, DoctorHost, SharedMemorySpace, tool_version
from dcss.doctor.huge_pages import huge_pages

THP = "sys/kernel/mm/transparent_hugepage/enabled"
SHMEM = "sys/kernel/mm/transparent_hugepage/shmem_enabled"
MOUNTS = "proc/self/mounts"
MIB = 1 << 20


class FakeHost:
    """Builds a DoctorHost whose trees are below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, settings: dict[str, str] | None = None, **fields: object) -> DoctorHost:
        for path, text in (settings or {}).items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        return DoctorHost(proc=self.root / "proc", sysfs=self.root / "sys", **fields)  # type: ignore[arg-type]


@pytest.fixture
def fake(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def check(diagnosis: Diagnosis, state: str, found: str) -> None:
    assert (diagnosis.state, diagnosis.found) == (state, found)
    assert (diagnosis.mend is None) == (diagnosis.limits is None) == (state == "ok")


def test_page_size(fake: FakeHost) -> None:
    check(kernel.page_size(fake(page_size_bytes=4096)), "ok", "4096 bytes")
    check(kernel.page_size(fake(page_size_bytes=65536)), "missing", "65536 bytes")


def test_hidden_frames_have_a_reason_and_a_command(fake: FakeHost) -> None:
    check(kernel.frames(fake(hidden_because=lambda: None)), "ok", "visible")
    hidden = kernel.frames(fake(hidden_because=lambda: "read as 0"))
    check(hidden, "limit", "hidden: read as 0")
    assert hidden.mend is not None
    assert "sudo" in hidden.mend
    assert "SYS_ADMIN" in hidden.mend


@pytest.mark.parametrize(("text", "state"), [("65530\n", "ok"), ("1048576\n", "ok"), ("1024\n", "limit")])
def test_map_count(fake: FakeHost, text: str, state: str) -> None:
    diagnosis = kernel.map_count(fake({"proc/sys/vm/max_map_count": text}))
    check(diagnosis, state, f"vm.max_map_count is {text.strip()}")


def thp_settings(chosen: str = "never", option: str = "") -> dict[str, str]:
    choices = ["always", "within_size", "advise", "never", "deny", "force"]
    return {
        THP: "always [madvise] never\n",
        SHMEM: " ".join(f"[{each}]" if each == chosen else each for each in choices) + "\n",
        MOUNTS: f"proc /proc proc rw 0 0\ntmpfs /dev/shm tmpfs rw{option and ',huge=' + option},size=1g 0 0\n",
    }


def test_huge_pages_are_there_if_one_was_made(fake: FakeHost) -> None:
    host = fake(thp_settings("never", "advise"), no_huge_pages_because=lambda: None)
    check(huge_pages(host), "ok", "segments get them (/dev/shm has huge=advise, shmem_enabled is never)")


@pytest.mark.parametrize(
    ("chosen", "option", "settings", "mend"),
    [
        ("deny", "", {}, f"echo never | sudo tee /{SHMEM}"),
        ("never", "", {}, "sudo mount -o remount,huge=within_size /dev/shm"),
        ("never", "advise", {}, "sudo mount -o remount,huge=within_size /dev/shm"),
        ("never", "always", {}, "echo 1 | sudo tee /proc/sys/vm/compact_memory"),
        ("never", "", {"proc/self/status": "Name:\tx\nTHP_enabled:\t0\n"}, "start dcss from a process that has not"),
    ],
)
def test_what_gives_huge_pages(fake: FakeHost, chosen: str, option: str, settings: dict[str, str], mend: str) -> None:
    host = fake(thp_settings(chosen, option) | settings, no_huge_pages_because=lambda: "the kernel made none")
    diagnosis = huge_pages(host)
    found = f"(/dev/shm has huge={option or 'never'}, shmem_enabled is {chosen})"
    check(diagnosis, "limit", f"none for segments: the kernel made none {found}")
    assert diagnosis.mend is not None
    assert diagnosis.mend.startswith(mend)


def test_a_kernel_without_huge_pages(fake: FakeHost) -> None:
    diagnosis = huge_pages(fake(no_huge_pages_because=lambda: "the kernel made none"))
    check(diagnosis, "limit", "none for memory like that of segments in this kernel")


@pytest.mark.parametrize(
    ("scope", "root", "state"),
    [("0", False, "ok"), ("1", False, "ok"), ("2", False, "limit"), ("2", True, "ok"), ("3", True, "limit")],
)
def test_yama(fake: FakeHost, scope: str, root: bool, state: str) -> None:
    diagnosis = kernel.yama(fake({"proc/sys/kernel/yama/ptrace_scope": scope}, root=root))
    check(diagnosis, state, f"ptrace_scope is {scope}")


def test_a_kernel_without_yama_or_ksm(fake: FakeHost) -> None:
    check(kernel.yama(fake()), "ok", "not in this kernel")
    check(kernel.ksm(fake()), "ok", "not in this kernel")


@pytest.mark.parametrize(("mode", "state"), [("0", "ok"), ("1", "ok"), ("2", "limit")])
def test_overcommit(fake: FakeHost, mode: str, state: str) -> None:
    diagnosis = kernel.overcommit(fake({"proc/sys/vm/overcommit_memory": mode}))
    check(diagnosis, state, f"vm.overcommit_memory is {mode}")


def test_ksm(fake: FakeHost) -> None:
    check(kernel.ksm(fake({"sys/kernel/mm/ksm/run": "0\n"})), "ok", "off")
    settings = {"sys/kernel/mm/ksm/run": "1\n", "sys/kernel/mm/ksm/pages_sharing": "77\n"}
    check(kernel.ksm(fake(settings)), "limit", "on, 77 pages merged")


def test_dockers_shared_memory_is_named(fake: FakeHost) -> None:
    diagnosis = resources.shared_memory(fake(shared_memory=lambda: SharedMemorySpace(64 * MIB, 64 * MIB, True)))
    check(diagnosis, "limit", "64.0 MiB free of 64.0 MiB, which is Docker's default")
    assert diagnosis.mend == "docker run --shm-size=2g …"


@pytest.mark.parametrize(
    ("space", "state", "found"),
    [
        (None, "missing", "none"),
        (SharedMemorySpace(4096 * MIB, 4096 * MIB, False), "missing", "not writable"),
        (SharedMemorySpace(4096 * MIB, 2048 * MIB, True), "ok", "2.0 GiB free of 4.0 GiB"),
        (SharedMemorySpace(4096 * MIB, 100 * MIB, True), "limit", "100.0 MiB free of 4.0 GiB"),
        (SharedMemorySpace(128 * MIB, 128 * MIB, True), "limit", "128.0 MiB free of 128.0 MiB"),
    ],
)
def test_shared_memory(fake: FakeHost, space: SharedMemorySpace | None, state: str, found: str) -> None:
    check(resources.shared_memory(fake(shared_memory=lambda: space)), state, found)


def test_descriptors(fake: FakeHost) -> None:
    check(resources.descriptors(fake(open_files=(1024, 4096))), "ok", "1024, at most 4096: enough for 1,008 guests")
    check(resources.descriptors(fake(open_files=(256, 256))), "limit", "256, at most 256: enough for 48 guests")
    check(resources.descriptors(fake(open_files=(1024, resource.RLIM_INFINITY))), "ok", "unlimited")
    assert resources.descriptors(fake(open_files=(16, 16))).found.endswith("enough for 0 guests")


def test_tools(fake: FakeHost) -> None:
    versions = {"qemu-system-s390x": "QEMU emulator version 7.2.22", "mke2fs": "mke2fs 1.47.0"}
    host = fake(tool_version=versions.get, package_version=lambda _: None)
    check(tools.qemu(host), "limit", "no qemu-system-x86_64; QEMU emulator version 7.2.22")
    check(tools.e2fsprogs(host), "limit", "no e2fsck, no debugfs; mke2fs 1.47.0")
    check(tools.unicorn_package(host), "missing", "not installed")
    host = fake(tool_version=lambda name: f"{name} 9", package_version=lambda _: "2.1.3")
    check(tools.qemu(host), "ok", "qemu-system-s390x 9; qemu-system-x86_64 9")
    check(tools.unicorn_package(host), "missing", "2.1.3, older than 2.1.4")
    check(tools.unicorn_package(fake(package_version=lambda _: "2.1.10")), "ok", "2.1.10")
    check(tools.apt(host), "ok", "apt-get 9; gpgv 9")
    check(tools.apt(fake(tool_version=lambda _: None)), "missing", "no apt-get, no gpgv")
    check(tools.e2fsprogs(fake(tool_version=lambda _: None)), "missing", "no mke2fs, no e2fsck, no debugfs")


def test_python(fake: FakeHost) -> None:
    check(tools.python(fake(python=(3, 11, 0))), "ok", "3.11.0")
    check(tools.python(fake(python=(3, 10, 9))), "missing", "3.10.9")


def test_a_tools_version_is_its_own_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    install("dcss-a", 'echo "a $1"; echo more')
    install("dcss-b", 'echo "b $1" >&2; exit 1')
    install("mke2fs", 'echo "$1" >&2')
    install("dcss-c", "exit 0")
    (tmp_path / "dcss-d").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "dcss-d").chmod(0o755)
    assert tool_version("dcss-a") == "a --version"
    assert tool_version("dcss-b") == "b --version"
    assert tool_version("mke2fs") == "-V"
    assert tool_version("dcss-c") == "of unknown version"
    assert "does not start" in (tool_version("dcss-d") or "")
    assert tool_version("dcss-nothing") is None


def test_every_check_runs_on_this_host() -> None:
    findings = examine(DoctorHost())
    assert len(findings) == len(CHECKS) + 4 == len({diagnosis.name for diagnosis in findings})
    for diagnosis in findings:
        assert diagnosis.state in {"ok", "limit", "missing"}
        assert (diagnosis.limits is None) == (diagnosis.mend is None) == (diagnosis.state == "ok")


@pytest.mark.parametrize("name", ["map_count", "overcommit", "ksm"])
def test_what_mends_a_setting_is_a_command_that_a_shell_reads(name: str, fake: FakeHost) -> None:
    host = fake(
        {
            "proc/sys/vm/max_map_count": "1",
            "proc/sys/vm/overcommit_memory": "2",
            "sys/kernel/mm/ksm/run": "1",
        }
    )
    mend = getattr(kernel, name)(host).mend
    assert shlex.split(mend)[0] in {"sudo", "echo"}


def test_kvm(fake: FakeHost) -> None:
    check(
        tools.kvm(fake(no_kvm_because=lambda: None)),
        "ok",
        "/dev/kvm opens; engine linux tries whether it runs a kernel",
    )
    check(tools.kvm(fake(no_kvm_because=lambda: "no such luck")), "limit", "no such luck")


@pytest.mark.parametrize(("version", "state"), [("0.0.6", "ok"), (None, "missing")])
def test_the_package_that_speaks_to_qemu(fake: FakeHost, version: str | None, state: str) -> None:
    check(tools.qmp_package(fake(package_version=lambda _: version)), state, version or "not installed")
