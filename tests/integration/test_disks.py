"""Disks on files of this machine: what guests get of them, what they write, and what is refused."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cli_support import GUEST, MAP, Dcss
from needs_support import needs, tool
from system_support import RunningSystem, guest, system_plan

from dcss.config.plan import DiskPlan, MountPlan

pytestmark = needs("mke2fs")
SIZE_BYTES = 64 << 10


@pytest.fixture(autouse=True)
def private_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(SIZE_BYTES))
    return path


def own_disk(dcss: Dcss, size_bytes: int = SIZE_BYTES) -> Path:
    """Make a file of zeros that the user of `dcss` owns."""
    path = dcss.home / "disk"
    path.write_bytes(bytes(size_bytes))
    if dcss.uid is not None:
        os.chown(path, dcss.uid, dcss.uid)
    return path


def test_a_guest_gets_descriptors_that_allow_what_its_plan_says(tmp_path: Path, disk: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(disk.read_bytes())
    disks = (DiskPlan("vdb", disk), DiskPlan("vdc", other, writable=True))
    with RunningSystem(system_plan(tmp_path, guest("A", ("map", "/usr/lib/*.so*"), disks=disks))) as system:
        system.bring_up()
        assert system.guests["A"].ready, system.guests["A"].outcome()
        of_pid = Path(f"/proc/{system.pid_of('A')}")
        access = {}
        for descriptor in (of_pid / "fd").iterdir():
            flags = (of_pid / "fdinfo" / descriptor.name).read_text().split("flags:")[1].split()[0]
            access[descriptor.readlink()] = int(flags, 8) & os.O_ACCMODE
        assert (access[disk], access[other]) == (os.O_RDONLY, os.O_RDWR)


@pytest.mark.parametrize("writable", [False, True])
def test_what_a_guest_writes_is_in_the_file_where_it_may(dcss: Dcss, writable: bool) -> None:
    path = own_disk(dcss)
    text = str(writable).lower()
    disks = f"disks: [{{name: vdb, file: disk, writable: {text}}}]"
    dcss.config(f"name: A, {GUEST}, {disks}, run: [map: '/**/*.so', exec: 'echo hello > /dev/vdb']")
    done = dcss("run", "system.yaml", status=0 if writable else 3)
    assert path.read_bytes() == (b"hello\n" if writable else b"").ljust(SIZE_BYTES, b"\0")
    assert writable or "Input/output error" in done.stdout + done.stderr, done.stdout


def test_a_file_that_became_a_fifo_fails_its_guest_alone_and_nothing_waits(tmp_path: Path, disk: Path) -> None:
    where = "test.yaml:7: guests[0].disks[0].file"
    bad = guest("BAD", disks=(DiskPlan("vdb", disk, where=where),))
    with RunningSystem(system_plan(tmp_path, bad, guest("GOOD"))) as system:
        system.publish()
        disk.unlink()
        os.mkfifo(disk)
        system.launch()
        system.wait()
        assert system.guests["GOOD"].ready
        assert system.system.supervisor.guests["BAD"].reason == f"{where}: {disk}: found a FIFO, wanted a regular file"
    assert stat.S_ISFIFO(disk.stat().st_mode)


def test_wrong_disks_are_refused_with_their_line_before_anything_starts(dcss: Dcss) -> None:
    dcss.config(f"name: A, {GUEST}, {MAP}, disks: [{{name: vdb, file: nosuch.img}}]")
    done = dcss("run", "system.yaml", status=2)
    wanted = f"guests[0].disks[0].file: found nothing at {dcss.home / 'nosuch.img'}, wanted a regular file"
    assert done.stderr.endswith(f"system.yaml:5: {wanted}\n")


def test_a_disk_that_several_guests_have_and_one_writes_is_named_in_a_warning(dcss: Dcss) -> None:
    own_disk(dcss)
    entry = "disks: [{name: vdb, file: disk, writable: true}]"
    dcss.config(f"name: A, count: 2, {GUEST}, {MAP}, {entry}")
    done = dcss("config", "system.yaml")
    assert f"guests[0].disks[0]: 2 guests have {dcss.home / 'disk'} as a disk, and it is writable" in done.stdout
    assert "after:" in done.stdout


def test_a_guest_reads_ext2_from_its_disk_and_the_proof_holds(tmp_path: Path) -> None:
    plan = system_plan(tmp_path, guest("A"))  # makes the image
    copying = guest(
        "A",
        ("read", "/usr/lib/*.so*"),
        disks=(DiskPlan("vdb", tmp_path / "image"),),
        mounts=(MountPlan("vdb", "/", ("ro",)),),
        expect="copies",
    )
    with RunningSystem(system_plan(tmp_path, copying, name=plan.name)) as system:
        system.bring_up()
        verdict = system.guests["A"].verdict
        assert verdict is not None and verdict.exit_status == 0, system.guests["A"].outcome()
        assert verdict.page_cache_bytes >= 300 * 4096


@needs("e2fsck")
def test_what_a_file_system_holds_back_is_on_the_disk_when_the_system_is_taken_down(dcss: Dcss) -> None:
    image = own_disk(dcss, 4 << 20)
    subprocess.run([tool("mke2fs") or "mke2fs", "-q", "-b", "4096", image], check=True)
    mounts = "mounts: [{device: dcssblk0, at: /segment, options: [ro]}, {device: vdb, at: /disk}]"
    disks = "disks: [{name: vdb, file: disk, writable: true}]"
    command = "mkdir /disk/d; echo hello > /disk/d/hello; cp /segment/usr/lib/lib00.so /disk"
    dcss.config(f"name: A, expect: nothing, {mounts}, {disks}, run: [{{exec: '{command}'}}]")
    dcss("run", "system.yaml")
    checked = subprocess.run([tool("e2fsck") or "e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert dcss("image", "cat", image, "/d/hello").stdout == "hello\n"
