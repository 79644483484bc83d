"""Virtual machines with Debian's s390x kernel: its own dcssblk driver loads a segment, and the agent answers."""

import hashlib
import os
import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli_support import Dcss, made_user
from needs_support import needs
from wait_support import wait_until

from dcss.account.smaps import private_bytes
from dcss.config.sources import DebianKernel
from dcss.kernels.find import find_kernel
from dcss.kernels.unpacked import unpacked_kernel

pytestmark = [pytest.mark.slow, needs("debian_archive", "qemu-system-s390x"), pytest.mark.timeout(600)]

KERNEL = "engine: linux, kernel: {debian: {suite: bookworm}}"
MOUNT = "mounts: [{device: dcssblk0, at: /mnt, options: [ro, xip]}]"
SECONDS = 400
VMLINUX_BYTES = 4 << 20


def has_at_most(pid: int, most_bytes: int) -> bool:
    return (private_bytes(pid) or 0) < most_bytes


@pytest.fixture(scope="module")
def dcss() -> Iterator[Dcss]:
    with made_user() as made:
        made.environment["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
        (made.home / "tree/usr/lib/big.so").write_bytes(random.Random(1).randbytes(3_000_000))
        # Text of the same kernel, which it has for itself, too.
        kernel = find_kernel(DebianKernel("bookworm", None), "s390x")
        (made.home / "tree/vmlinux").write_bytes(unpacked_kernel(kernel.image)[:VMLINUX_BYTES])
        segment = "  - {name: LIB, at: 0x10000000, image: {directory: tree}}"
        process = f"name: P, {MOUNT}, run: [{{map: '/mnt/usr/lib/**/*.so*'}}]"
        guests = (
            process,
            f"name: L, count: 2, {KERNEL}, {MOUNT}, run: [{{map: /mnt/usr/lib/**/*.so*}}]",
        )
        made("up", made.config(*guests, segment=segment), "-d", timeout_seconds=SECONDS)
        yield made
        made("down", timeout_seconds=300)
        made.assert_nothing_left()


def test_their_kernel_is_a_guest_of_zvm_and_reads_the_segments_bytes(dcss: Dcss) -> None:
    assert dcss.states() == {"P": "ready", "L01": "ready", "L02": "ready"}
    for name in ("L01", "L02"):
        log = dcss("logs", name).stdout
        assert "Linux is running as a z/VM guest operating system" in log
        assert "DCSS LIB of range 0000000010000000" in log
        assert "DIAG X'64' 20 'LIB': cc 0" in log


@needs("frames")
def test_all_engines_share_the_same_frames(dcss: Dcss) -> None:
    result = dcss.json("verify", dcss.system)
    assert result["verdict"] == "verified", result["claims"]
    big = next(file for file in result["files"] if file["path"] == "/usr/lib/big.so")
    assert big["guests"] == ["P", "L01", "L02"]
    assert big["distinct_frames"] == big["pages"] == big["checked_pages"]


@needs("frames")
def test_the_kernel_is_listed_and_a_copy_of_its_file_refutes(dcss: Dcss) -> None:
    def copies() -> dict[str, Any]:
        claims = dcss.json("verify", dcss.system, status=None)["claims"]
        return next(claim for claim in claims if claim["claim"] == "no-hidden-copies")

    listed = copies()
    assert listed["holds"], listed["detail"]
    assert re.search(r"always copied: .*L02 \(modules\): \d+ pages of LIB:/vmlinux", listed["detail"])
    dcss("exec", "L02", "--", "cp", "/mnt/vmlinux", "/tmp/copy")
    refuted = copies()
    dcss("exec", "L02", "--", "rm", "/tmp/copy")
    assert refuted["holds"] is False
    assert f"guest L02 (kernel): {VMLINUX_BYTES // 4096:,} pages of LIB:/vmlinux" in refuted["detail"]


def test_a_query_of_cp_counts_them_as_users(dcss: Dcss) -> None:
    told = dcss("cp", "QUERY NSS USERS", "--system", dcss.system).stdout
    assert told.splitlines()[1].split() == ["0001", "LIB", "DCSS", "A", "00003"]


def test_programs_read_the_segments_bytes_in_place(dcss: Dcss) -> None:
    wanted = hashlib.sha256((dcss.home / "tree/usr/lib/big.so").read_bytes()).hexdigest()
    for name in ("L01", "L02"):
        told = dcss("exec", name, "--", "sha256sum", "/mnt/usr/lib/big.so").stdout
        assert told.split()[0] == wanted
    mounted = dcss("exec", "L01", "--", "grep", "/mnt", "/proc/mounts").stdout
    assert ",dax" in mounted
    # A directory that is read has the files behind it read too, into buffers: copies.
    assert dcss("exec", "L01", "--", "cat", "/sys/block/dcssblk0/queue/read_ahead_kb").stdout == "0\n"
    guests = {guest["name"]: guest for guest in dcss.json("measure", dcss.system)["guests"]}
    # What the `map:` step mapped and keeps; the host's page tables have what was read, too.
    mapped_bytes = guests["P"]["guest"]["xip_bytes"]
    assert mapped_bytes > 3_000_000
    assert guests["L01"]["guest"]["xip_bytes"] == mapped_bytes < guests["L01"]["mapped_segment_bytes"]
    mounts = [(mount["at"], mount["wanted"], mount["mode"]) for mount in guests["L01"]["mounts"]]
    assert mounts == [("/mnt", "dax", "dax")]


def test_what_the_kernel_frees_goes_back_to_the_host(dcss: Dcss) -> None:
    """It cleared all of its storage as it came up, by init_on_free=1."""
    guests = [each for each in dcss.json("measure", dcss.system)["guests"] if each["name"] in {"L01", "L02"}]
    for guest in guests:
        (pid,) = guest["pids"]
        most_bytes = guest["storage_bytes"] * 3 // 4
        assert private_bytes(pid) is not None, "it runs"
        # The kernel reports free pages every other second.
        wait_until(partial(has_at_most, pid, most_bytes), partial(private_bytes, pid))
    # Pages that are on their way to the host, or that the kernel set aside for CPUs that it has not, are not free.
    for name in ("L01", "L02"):
        told = dcss("exec", name, "--", "grep", "MemFree", "/proc/meminfo").stdout
        assert int(told.split()[1]) > 200 << 10, told


def test_a_command_s_streams_and_status_come_back(dcss: Dcss) -> None:
    done = dcss("exec", "L02", "--", "sh", "-c", "echo out; echo err >&2; exit 7", status=7)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert dcss("exec", "L02", "--", "sh", "-c", "kill -TERM $$", status=143).stdout == ""
    assert "not found" in dcss("exec", "L02", "--", "nosuch", status=127).stderr
    large = dcss("exec", "L02", "--", "sh", "-c", "yes 0123456789 | head -c 300000").stdout
    assert large == ("0123456789\n" * 30_000)[:300_000]


def test_a_segment_that_is_not_there_is_the_driver_s_error(dcss: Dcss) -> None:
    refused = dcss("exec", "L01", "--", "sh", "-c", "echo NOSUCH > /sys/devices/dcssblk/add", status=1)
    assert "No such file or directory" in refused.stderr
    assert "DIAG X'64' 38 'NOSUCH': cc 2" in dcss("logs", "L01").stdout


def test_what_one_machine_writes_when_it_has_a_segment_alone_is_its_own(dcss: Dcss) -> None:
    """The driver loads it non-shared; the next shared load gets what was saved, also in this machine."""
    alone = (
        "umount /mnt; cd /sys/devices/dcssblk/LIB; echo 0 > shared; dd if=/dev/zero of=/dev/dcssblk0 bs=4096 count=4"
    )
    unmap = "for p in $(pidof agent); do tr '\\0' ' ' < /proc/$p/cmdline | grep -q map && kill $p; done"
    told = dcss("exec", "L02", "--", "sh", "-c", f"{unmap}; sleep 1; {alone} && cat shared", status=None)
    assert told.stdout == "0\n", told.stderr
    wanted = hashlib.sha256((dcss.home / "tree/usr/lib/big.so").read_bytes()).hexdigest()
    assert dcss("exec", "L01", "--", "sha256sum", "/mnt/usr/lib/big.so").stdout.split()[0] == wanted
    again = "cd /; echo 1 > /sys/devices/dcssblk/LIB/shared && mount -t ext2 -o ro,dax /dev/dcssblk0 /mnt"
    dcss("exec", "L02", "--", "sh", "-c", again)
    assert dcss("exec", "L02", "--", "sha256sum", "/mnt/usr/lib/big.so").stdout.split()[0] == wanted


def test_the_bench_of_kernel_tests_tells_what_holds_from_what_does_not(tmp_path: Path) -> None:
    """Debian's 6.1 is known not to keep its books of what is executed in place."""
    with made_user() as made:
        made.environment["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
        junit = tmp_path / "junit.xml"
        names = ("add", "write-shared", "save", "gap", "bad-page-map")
        words = [word for name in names for word in ("--check", name)]
        done = made.json("kernel-test", "debian:bookworm", *words, "--junit", junit, status=1, timeout_seconds=SECONDS)
        (kernel,) = done["kernels"]
        outcomes = {check["check"]: check["outcome"] for check in kernel["checks"]}
        assert outcomes == dict.fromkeys(names, "ok") | {"bad-page-map": "failed"}
        assert 'failures="1"' in junit.read_text()
        made.assert_nothing_left()
