"""`dcss export`: what it writes is run, booted or validated by what it is for, as far as that is to be had."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_support import Dcss
from image_support import e2fsck_findings
from needs_support import needs, tool
from plan_support import write_files

from dcss.plan.export.exported import ExportedDevice, exported_devices
from dcss.plan.export.files import MachineOptions
from dcss.plan.export.write import MAKERS, write_export
from dcss.progress import SilentProgress

_UNIT = 2 << 20
_BOOT_SECONDS = 240
_FILES = {"usr/lib/libone.so": 300, "usr/lib/libtwo.so": 500, "etc/small": 1}


@pytest.fixture
def image(dcss: Dcss) -> Path:
    write_files(dcss.home / "content", _FILES)
    dcss("image", "build", dcss.home / "content", "-o", dcss.home / "lib.img")
    return dcss.home / "lib.img"


def _indented(text: str) -> str:
    return "".join(f"          {line}\n" for line in text.splitlines())


def _procedure(dcss: Dcss, directory: Path, device: ExportedDevice) -> Path:
    """Write a system that runs an export for z/VM: one user defines, one fills and saves, two use."""
    disk = dcss.home / "disk.img"
    dcss("image", "build", directory, "-o", disk)
    commands = (directory / f"{device.name}.cp").read_text().splitlines()
    save, use = ((directory / f"{device.name}-{step}.sh").read_text() for step in ("save", "use"))
    path = dcss.home / "procedure.yaml"
    path.write_text(
        f"system: {dcss.system}\n"
        "segments: [{name: OTHER, at: 0x70000000, size: 1M, type: SN}]\n"
        "guests:\n"
        "  - {name: MAINT, privilege: EG, storage: 1G, dcssblk: [], expect: nothing, run: ["
        + ", ".join(f"exec: vmcp {command}" for command in commands)
        + "]}\n"
        "  - name: ADMIN\n"
        "    after: [MAINT]\n"
        "    privilege: EG\n"
        "    dcssblk: []\n"
        "    expect: nothing\n"
        f"    disks: [{{name: vdb, file: {disk}}}]\n"
        "    mounts: [{device: vdb, at: /image, options: [ro]}]\n"
        "    run:\n"
        "      - exec: |\n" + _indented("cd /image\n" + save) + "  - name: USER\n"
        "    count: 2\n"
        "    after: [ADMIN]\n"
        "    dcssblk: []\n"
        "    run:\n"
        "      - exec: |\n" + _indented(use) + "      - map: /mnt/**\n"
    )
    return path


def _check_procedure(dcss: Dcss, directory: Path, device: ExportedDevice) -> dict[str, Any]:
    found: dict[str, Any] = dcss.json("run", _procedure(dcss, directory, device))
    assert found["verify"]["verdict"] == "verified", found["verify"]["claims"]
    assert sorted(file["path"] for file in found["verify"]["files"]) == sorted(f"/{path}" for path in _FILES)
    names = [segment.name for segment in device.segments]
    for segment in device.segments:
        rows = dcss("cp", "--system", dcss.system, f"QUERY NSS NAME {segment.name} MAP").stdout
        last_page = segment.address + segment.size_bytes - 1 >> 12
        assert re.search(rf"{segment.name} .* {segment.address >> 12:05X} +{last_page:05X} +SR +A", rows), rows
    content = dcss.home / "saved.img"
    with content.open("wb") as joined:
        for name in names:
            dcss("segment", "export", name, dcss.home / f"{name}.out", "--system", dcss.system)
            joined.write((dcss.home / f"{name}.out").read_bytes())
    assert content.read_bytes() == (directory / device.image_name).read_bytes()
    return found


def test_the_procedure_for_zvm_runs_in_our_guests(dcss: Dcss, image: Path) -> None:
    directory = dcss.home / "zvm"
    written = dcss("export", "zvm", image, "--at", "0x30000000", "-o", directory).stdout.split()
    assert [Path(path).name for path in written] == ["LIB.img", "LIB.cp", "LIB-save.sh", "LIB-use.sh"]
    (device,) = exported_devices([image], name=None, address=0x30000000, notes=[])
    assert (directory / "LIB.cp").read_text() == "DEFSEG LIB 30000-305FF SR\nSAVESEG LIB\n"
    _check_procedure(dcss, directory, device)


def test_a_segment_that_is_too_large_is_several_which_are_one_disk(dcss: Dcss, image: Path) -> None:
    directory = dcss.home / "zvm"
    (device,) = exported_devices([image], name="BIG", address=0x30000000, notes=[], part_bytes=_UNIT)
    files = list(MAKERS["zvm"]([device], MachineOptions(directory)))
    write_export([device], files, directory, SilentProgress(), replace=False)
    for path in (directory, *directory.iterdir()):
        os.chown(path, dcss.uid or -1, -1)
    assert (directory / "BIG1.cp").read_text().splitlines() == [
        "DEFSEG BIG1 30000-301FF SR",
        "DEFSEG BIG2 30200-303FF SR",
        "DEFSEG BIG3 30400-305FF SR",
        "SAVESEG BIG1",
        "SAVESEG BIG2",
        "SAVESEG BIG3",
    ]
    assert "echo BIG1:BIG2:BIG3 > /sys/devices/dcssblk/add" in (directory / "BIG1-save.sh").read_text()
    _check_procedure(dcss, directory, device)


def test_more_than_two_gibibytes_are_several_segments(dcss: Dcss, image: Path) -> None:
    dcss("image", "build", dcss.home / "content", "-o", dcss.home / "large.img", "--size", "5G")
    document = dcss.json("export", "zvm", dcss.home / "large.img", "--name", "HUGESEGM")
    (device,) = document["devices"]
    assert [segment["name"] for segment in device["segments"]] == ["HUGESEG1", "HUGESEG2", "HUGESEG3"]
    assert sum(segment["bytes"] for segment in device["segments"]) == 5 << 30
    addresses = [segment["address"] for segment in device["segments"]]
    assert addresses == [(256 << 20) + number * (2046 << 20) for number in range(3)]


def test_scripts_are_what_a_shell_takes(dcss: Dcss, image: Path) -> None:
    for target in ("zvm", "qemu", "cloud-hypervisor"):
        dcss("export", target, image, "-o", dcss.home / target)
        for script in (dcss.home / target).glob("*.sh"):
            assert os.access(script, os.X_OK)
            subprocess.run(["sh", "-n", script], check=True)


def test_segments_of_a_configuration_are_exported_as_it_has_them(dcss: Dcss) -> None:
    config = dcss.guests(2)
    document = dcss.json("export", "zvm", config)
    (device,) = document["devices"]
    assert device["segments"][0]["defseg"].startswith("DEFSEG LIB 20000-")
    assert device["bytes"] % _UNIT == 0
    text = dcss("export", "zvm", config).stdout
    assert all(f"# ---- {file['name']}\n{file['text']}" in text for file in document["files"])
    assert document["written"] == []


@pytest.mark.parametrize("target", ["qemu", "libvirt", "firecracker", "cloud-hypervisor"])
def test_images_are_padded_and_sound(dcss: Dcss, image: Path, target: str) -> None:
    directory = dcss.home / target
    document = dcss.json("export", target, image, "-o", directory)
    padded = directory / "LIB.img"
    assert padded.stat().st_size % _UNIT == 0
    assert padded.stat().st_size == document["devices"][0]["bytes"]
    assert padded.read_bytes()[: image.stat().st_size] == image.read_bytes()
    assert {Path(each["path"]).name for each in document["written"]} == {path.name for path in directory.iterdir()}


@needs("e2fsck")
def test_a_padded_image_passes_e2fsck(dcss: Dcss, image: Path) -> None:
    dcss("export", "qemu", image, "-o", dcss.home / "qemu")
    assert e2fsck_findings(dcss.home / "qemu/LIB.img") == []


@needs("virt-xml-validate")
def test_libvirt_takes_the_domain(dcss: Dcss, image: Path) -> None:
    second = dcss.home / "b.img"
    second.write_bytes(image.read_bytes())
    dcss("export", "libvirt", image, second, "-o", dcss.home / "vm", "--memory", "1G")
    done = subprocess.run(
        ["virt-xml-validate", dcss.home / "vm/domain.xml", "domain"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (dcss.home / "vm/domain.xml").read_text().count("<readonly />") == 2


# Firecracker's and Cloud Hypervisor's own programs are not in Debian: these are the fields that their API documents.
_FIRECRACKER = {
    "boot-source": {"kernel_image_path", "boot_args", "initrd_path"},
    "machine-config": {"vcpu_count", "mem_size_mib", "smt", "track_dirty_pages", "cpu_template", "huge_pages"},
    "pmem": {"id", "path_on_host", "root_device", "read_only", "rate_limiter"},
}
_CLOUD_HYPERVISOR = {
    "payload": {"kernel", "cmdline", "initramfs", "firmware"},
    "cpus": {"boot_vcpus", "max_vcpus", "topology"},
    "memory": {"size", "shared", "mergeable", "hugepages", "prefault", "thp"},
    "pmem": {"file", "size", "discard_writes", "iommu", "id", "pci_segment"},
}


def _check_fields(document: dict[str, Any], known: dict[str, set[str]], more: Sequence[str] = ()) -> None:
    assert set(document) <= {*known, *more}
    for name, fields in known.items():
        entries = document[name] if isinstance(document[name], list) else [document[name]]
        assert entries
        assert all(set(entry) <= fields for entry in entries), name


def test_firecracker_gets_fields_that_it_knows(dcss: Dcss, image: Path) -> None:
    document = json.loads(dcss("export", "firecracker", image, "--name", "A$B").stdout)
    _check_fields(document, _FIRECRACKER, ["drives"])
    (pmem,) = document["pmem"]
    assert re.fullmatch("[A-Za-z0-9_]+", pmem["id"])
    assert pmem["read_only"] is True
    assert Path(pmem["path_on_host"]).is_absolute()


def test_cloud_hypervisor_gets_fields_that_it_knows(dcss: Dcss, image: Path) -> None:
    dcss("export", "cloud-hypervisor", image, "-o", dcss.home / "ch")
    document = json.loads((dcss.home / "ch/vm.json").read_text())
    _check_fields(document, _CLOUD_HYPERVISOR)
    assert document["pmem"] == [{"file": str(dcss.home / "ch/LIB.img"), "discard_writes": True}]


def _refused(dcss: Dcss, *arguments: str | Path) -> str:
    done = dcss("export", *arguments, status=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_nothing_is_written_over_unasked(dcss: Dcss, image: Path) -> None:
    directory = dcss.home / "there"
    directory.mkdir()
    (directory / "LIB.img").write_text("mine")
    dcss.own(directory, directory / "LIB.img")
    assert "--force" in _refused(dcss, "qemu", image, "-o", directory)
    assert [path.name for path in directory.iterdir()] == ["LIB.img"]
    assert (directory / "LIB.img").read_text() == "mine"
    dcss("export", "qemu", image, "-o", directory, "--force")
    assert (directory / "LIB.img").stat().st_size % _UNIT == 0


def test_what_cannot_be_exported_is_one_line(dcss: Dcss, image: Path) -> None:
    assert "wanted a multiple of 0x200000" in _refused(dcss, "zvm", image, "--at", "0x1000")
    assert "found it twice" in _refused(dcss, "zvm", image, image)
    assert "found a file at" in _refused(dcss, "qemu", image, "-o", image)
    assert "beside a configuration" in _refused(dcss, "zvm", dcss.guests(1), "--name", "X")
    assert "--name" in _refused(dcss, "zvm", image, "--name", "much too long")
    for size in ("1000", "1536K", "0"):
        assert "--memory: found" in _refused(dcss, "qemu", image, "--memory", size)
    assert "No such file or directory" in _refused(dcss, "zvm", dcss.home / "nowhere")


@needs("mke2fs")
def test_small_blocks_are_refused(dcss: Dcss) -> None:
    small = dcss.home / "small.img"
    subprocess.run([tool("mke2fs") or "mke2fs", "-q", "-b", "1024", small, "4M"], check=True)
    assert "mke2fs -b 4096" in _refused(dcss, "qemu", small)


@pytest.mark.slow
@needs("virtual_machines")
def test_qemu_boots_a_kernel_that_mounts_the_image(dcss: Dcss, image: Path) -> None:
    from benchmarks.cases.qemu.initramfs import build, find_kernel

    kernel = find_kernel()
    directory = dcss.home / "boot"
    directory.mkdir()
    initramfs = build(kernel, directory)
    dcss("export", "qemu", image, "-o", dcss.home / "vm", "--memory", "256M")
    words = ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]
    command = [str(dcss.home / "vm/run-qemu.sh"), *words, "-kernel", str(kernel.image), "-initrd", str(initramfs)]
    append = ["-append", "console=ttyS0 quiet loglevel=0 panic=-1"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*command, *append], env={**os.environ, "ACCEL": "tcg"}, **pipes) as machine:  # type: ignore[call-overload]
        hung = threading.Timer(_BOOT_SECONDS, machine.kill)
        hung.start()
        try:
            said = _said_until(machine, "MOUNTED")
            machine.stdin.write("\n")  # what comes before the guest reads its console is lost
            machine.stdin.flush()
            said += _said_until(machine, "READ")
        finally:
            hung.cancel()
            machine.kill()
    assert "mount:" not in said


def _said_until(machine: "subprocess.Popen[str]", word: str) -> str:
    """Return what a guest writes to its console until it says a word."""
    assert machine.stdout is not None
    said = ""
    for line in machine.stdout:
        said += line
        if line.strip().endswith(word):
            return said
    pytest.fail(f"QEMU ended before its guest said {word}: {said}")
