"""Segments as devices of a machine without DIAGNOSE: how CP is asked for them, and what QEMU gets."""

import asyncio
import fcntl
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from dcss.abi.diag64 import DIAGNOSE_64, ConditionCode, Diag64
from dcss.abi.hypercall import Reply, Request
from dcss.config.plan import GuestPlan, LinuxSettings, Step
from dcss.engines.base import Accelerator, GuestRefusedError
from dcss.engines.linux import kvm
from dcss.engines.linux.engine import LinuxEngine
from dcss.engines.linux.pmem import PmemDevice, close_devices, load_devices
from dcss.engines.linux.pmem_machine import PmemMachine
from dcss.engines.linux.qemu import PROGRAMS
from dcss.host import kvm as host_kvm
from dcss.host.mark import Mark
from dcss.kernels.guest_plan import plan_script

START, HUGE_BYTES = 0x1000_0000, 2 << 20


def plan(*dcssblk: str, run: Sequence[Step] = ()) -> GuestPlan:
    return GuestPlan("X", LinuxSettings(arch="x86_64"), 256 << 20, dcssblk, (), "shared", tuple(run), "x.yaml:3")


class Cp:
    """Answers loads with segments of `size_bytes`, one behind the other, all from one object that it may write."""

    def __init__(self, descriptor: int, size_bytes: int = HUGE_BYTES) -> None:
        self.descriptor, self.size_bytes = descriptor, size_bytes
        self.requests: list[tuple[int, int, str]] = []

    async def __call__(self, request: Request) -> Reply:
        name = request.block.decode("cp037").strip()
        self.requests.append((request.diagnose, request.ry, name))
        if name == "NONE":
            return Reply(ConditionCode.FAILED, request.rx, 44)
        start = START * len(self.requests)
        return Reply(ConditionCode.DONE, start, start + self.size_bytes - 1, descriptor=self.descriptor)


@pytest.fixture
def content() -> Iterator[int]:
    descriptor = os.memfd_create("segment")
    os.ftruncate(descriptor, HUGE_BYTES)
    yield descriptor
    os.close(descriptor)


def test_cp_counts_each_load_and_no_descriptor_can_write(content: int) -> None:
    cp, notes = Cp(content), list[str]()
    devices = asyncio.run(load_devices(plan("A", "B"), cp, notes.append))
    try:
        assert cp.requests == [(DIAGNOSE_64, Diag64.LOADSHRX, "A"), (DIAGNOSE_64, Diag64.LOADSHRX, "B")]
        assert [(device.segment, device.size_bytes) for device in devices] == [("A", HUGE_BYTES), ("B", HUGE_BYTES)]
        for device in devices:
            assert fcntl.fcntl(device.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
            assert os.fstat(device.descriptor).st_ino == os.fstat(content).st_ino
        assert len(notes) == 2
    finally:
        close_devices(devices)


@pytest.mark.parametrize(
    ("name", "size_bytes", "found"),
    [("NONE", HUGE_BYTES, "CP answers with code 44"), ("A", HUGE_BYTES + 4096, f"found {HUGE_BYTES + 4096} bytes")],
)
def test_what_cannot_be_a_device_refuses_the_guest_and_leaves_no_descriptor(
    content: int, name: str, size_bytes: int, found: str
) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(GuestRefusedError, match=found):
        asyncio.run(load_devices(plan("B" if size_bytes == HUGE_BYTES else name, name), Cp(content, size_bytes), print))
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(("accelerator", "cpu"), [("kvm", "host"), ("tcg", "max")])
def test_qemu_gets_each_segment_read_only_and_by_descriptor(accelerator: str, cpu: str) -> None:
    chosen = Accelerator("kvm") if accelerator == "kvm" else Accelerator("tcg", "why")
    machine = PmemMachine("X", 256 << 20, 2, Path("/k"), "more=1", chosen)
    command = machine.command(3, 4, 5, [PmemDevice("A", 8, HUGE_BYTES), PmemDevice("B", 9, 2 * HUGE_BYTES)])
    words = dict(pairwise(command))
    assert (words["-accel"], words["-cpu"], words["-smp"]) == (accelerator, cpu, "2")
    assert words["-m"] == f"256M,slots=2,maxmem={(256 << 20) + 3 * HUGE_BYTES}"
    backing = [word for word in command if word.startswith("memory-backend-file")]
    assert backing == [
        f"memory-backend-file,id=segment{number},mem-path=/proc/self/fd/{number + 8},size={size_bytes}"
        ",share=on,readonly=on,align=2M"
        for number, size_bytes in enumerate((HUGE_BYTES, 2 * HUGE_BYTES))
    ]
    parameters = words["-append"].split()
    assert parameters[-1] == "more=1"
    # With memory beyond 4 GiB, a kernel would set 64 MiB aside.
    assert "swiotlb=noforce" in parameters
    script = plan_script(plan("A", "B"))
    assert script.splitlines() == ["pmem 10 A 0", "pmem 11 B 1"]
    addresses = [word.partition("addr=0x")[2] for word in command if word.startswith("virtio-pmem-pci")]
    assert addresses == [line.split()[1] for line in script.splitlines()]


def test_without_devices_memory_ends_with_storage() -> None:
    command = PmemMachine("X", 256 << 20, 1, Path("/k"), "", Accelerator("tcg")).command(3, 4, 5, [])
    assert command[command.index("-m") + 1] == "256M"


@pytest.mark.parametrize(
    ("wrong", "wanted"),
    [
        (plan("A(local)"), "a shared load"),
        (plan("A:B"), "one segment in each device"),
        (plan("A", run=[Step("load", "B")]), "the segment in dcssblk:"),
        (plan(*(f"S{number}" for number in range(16))), "at most 15"),
    ],
)
def test_what_a_machine_with_read_only_devices_cannot_do_is_said_before_it_starts(
    wrong: GuestPlan, wanted: str
) -> None:
    assert [problem for problem in LinuxEngine().check([wrong]) if wanted in str(problem)]
    assert not [problem for problem in LinuxEngine().check([plan("A")]) if "x86_64" in str(problem)]


def test_without_kvm_s_device_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_kvm, "DEVICE", str(tmp_path / "kvm"))
    chosen = asyncio.run(kvm.choose_accelerator(Path("/k"), Mark.of_this_process("s")))
    assert chosen.name == "tcg"
    assert chosen.downgraded_because == f"{tmp_path}/kvm cannot be opened: No such file or directory"


@pytest.mark.parametrize(
    ("script", "limit_seconds", "reason"),
    [
        ("echo 'Kernel panic - not syncing: VFS: Unable to mount root fs'", 60, ""),
        ("echo 'error: failed to set MSR 0x48'; exit 1", 60, "QEMU ended with status 1: error: failed to set MSR 0x48"),
        ("exec sleep 1000", 0.2, "did not come up within 0.2 s"),
    ],
)
def test_kvm_is_used_where_a_kernel_comes_up_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, limit_seconds: float, reason: str
) -> None:
    """In place of QEMU and its device stand a script and a file."""
    (tmp_path / "kvm").touch()
    program = tmp_path / PROGRAMS["x86_64"]
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(host_kvm, "DEVICE", str(tmp_path / "kvm"))
    monkeypatch.setattr(kvm, "_TRIAL_SECONDS", limit_seconds)
    chosen = asyncio.run(kvm.choose_accelerator(Path("/k"), Mark.of_this_process("s")))
    assert chosen.name == ("tcg" if reason else "kvm")
    assert chosen.downgraded_because.endswith(reason)


def test_a_kvm_that_not_even_a_kill_ends_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Stuck:
        """A QEMU in the midst of a call that the host's kernel does not come back from."""

        def __init__(self, *_: object) -> None:
            self.ended = asyncio.get_running_loop().create_future()

        def kill(self) -> None:
            pass

    (tmp_path / "kvm").touch()
    monkeypatch.setattr(host_kvm, "DEVICE", str(tmp_path / "kvm"))
    monkeypatch.setattr(kvm, "QemuProcess", Stuck)
    monkeypatch.setattr(kvm, "_TRIAL_SECONDS", 0.01)
    monkeypatch.setattr(kvm, "_KILL_SECONDS", 0.01)
    chosen = asyncio.run(kvm.choose_accelerator(Path("/k"), Mark.of_this_process("s")))
    assert chosen.name == "tcg"
    assert chosen.downgraded_because.endswith("did not come up within 0.01 s")
