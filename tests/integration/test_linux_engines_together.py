"""One segment in guests of every engine and architecture: the same bytes, the same frames, one verdict, one account."""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from cli_support import Dcss, made_user
from needs_support import needs
from terminal_support import Terminal
from wait_support import wait_until

from dcss.account.smaps import private_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.minutes,
    needs("debian_archive", "qemu-system-s390x", "qemu-system-x86_64"),
    pytest.mark.timeout(900),
]

MOUNT = "mounts: [{device: dcssblk0, at: /mnt, options: [ro, xip]}], run: [{map: '/mnt/**'}]"
KERNEL = "engine: linux, kernel: {debian: {suite: bookworm}}"
GUESTS = ("P", "M", "Z", "L", "X01", "X02")
SHARING = ("P", "Z", "L", "X01", "X02")
MACHINES = ("L", "X01", "X02")
SECONDS = 700
CAT = Path(__file__).parents[2] / "configs/s390x-programs/root/bin/cat"  # a program of s390x
BIG_BYTES = 3_000_000
AS_BEFORE = "mount -t ext2 -o ro,dax /dev/dcssblk0 /mnt"
UNMAP = "for p in $(pidof agent); do tr '\\0' ' ' < /proc/$p/cmdline | grep -q map && kill $p; done"


@pytest.fixture(scope="module")
def dcss() -> Iterator[Dcss]:
    with made_user() as made:
        made.environment["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
        (made.home / "tree/usr/lib/big.so").write_bytes(random.Random(1).randbytes(BIG_BYTES))
        (made.home / "tree/usr/bin").mkdir(exist_ok=True)
        shutil.copy(CAT, made.home / "tree/usr/bin/cat")
        guests = (
            f"name: P, {MOUNT}",
            "name: M, privilege: E, expect: nothing",
            f"name: Z, engine: s390x, {MOUNT}",
            f"name: L, {KERNEL}, {MOUNT}",
            f"name: X, count: 2, arch: x86_64, {KERNEL}, {MOUNT}",
        )
        system = made.config(*guests, segment="  - {name: LIB, at: 0x10000000, image: {directory: tree}}")
        made("up", system, "-d", timeout_seconds=SECONDS)
        yield made
        made("down", timeout_seconds=300)
        made.assert_nothing_left()


def accounts(dcss: Dcss) -> dict[str, Any]:
    return {guest["name"]: guest for guest in dcss.json("measure", dcss.system)["guests"]}


def big_file(verdict: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(file for file in verdict["files"] if file["path"] == "/usr/lib/big.so")
    return found


def test_cp_counts_every_guest_as_a_user(dcss: Dcss) -> None:
    assert dcss.states() == dict.fromkeys(GUESTS, "ready")
    told = dcss("cp", "QUERY NSS USERS", "--system", dcss.system).stdout
    assert told.splitlines()[1].split() == ["0001", "LIB", "DCSS", "A", "00006"]
    assert "DIAG X'64' 20 'LIB': virtio-pmem device 0" in dcss("logs", "X01").stdout


@needs("frames")
def test_one_verdict_says_that_all_use_the_same_frames(dcss: Dcss) -> None:
    verdict = dcss.json("verify", dcss.system)
    assert verdict["verdict"] == "verified", verdict["claims"]
    claims = {claim["claim"]: claim["holds"] for claim in verdict["claims"] if claim["applies"]}
    assert claims == dict.fromkeys(("one-frame-per-page", "no-hidden-copies", "books-close", "protection-holds"), True)
    big = big_file(verdict)
    assert sorted(big["guests"]) == sorted(SHARING)
    assert big["distinct_frames"] == big["pages"] == big["checked_pages"]


def test_the_same_steps_give_the_same_bytes_and_rows_of_the_same_fields(dcss: Dcss) -> None:
    wanted = hashlib.sha256((dcss.home / "tree/usr/lib/big.so").read_bytes()).hexdigest()
    for name in MACHINES:
        assert dcss("exec", name, "--", "sha256sum", "/mnt/usr/lib/big.so").stdout.split()[0] == wanted
    # The small shell of engine process computes no digest, and a guest of engine s390x has no programs of its own.
    for name, program in (("P", "cat"), ("Z", "/mnt/usr/bin/cat")):
        command = dcss.command("exec", name, "--", program, "/mnt/usr/lib/big.so")
        options: dict[str, Any] = {"env": dcss.environment, **dcss.identity}
        done = subprocess.run(command, cwd=dcss.home, stdout=subprocess.PIPE, check=True, timeout=300, **options)
        assert hashlib.sha256(done.stdout).hexdigest() == wanted, name
    rows = accounts(dcss)
    assert tuple(rows) == GUESTS
    assert len({rows[name]["guest"]["xip_bytes"] for name in SHARING}) == 1  # all have mapped the same files
    assert len({tuple(row) for row in rows.values()}) == 1
    assert len({(tuple(row["guest"]), tuple(row["host"])) for row in rows.values()}) == 1


@pytest.mark.parametrize("name", ["L", "X01"])
def test_a_machine_counts_its_modules(dcss: Dcss, name: str) -> None:
    loaded = dcss("exec", name, "--", "cat", "/proc/modules").stdout.splitlines()
    assert accounts(dcss)[name]["guest"]["module_bytes"] == sum(int(line.split()[1]) for line in loaded) > 0


def test_each_machine_says_how_it_is_executed(dcss: Dcss) -> None:
    rows = accounts(dcss)
    assert [rows[name]["accelerator"] for name in ("P", "Z", "L")] == [None, None, "tcg"]
    assert rows["X01"]["accelerator"] in {"kvm", "tcg"}
    assert (rows["X01"]["accelerator"] == "tcg") is bool(rows["X01"]["accelerator_reason"])
    assert f"X01, X02 by {rows['X01']['accelerator']}" in dcss("measure", dcss.system).stdout


@pytest.mark.parametrize(("name", "most_bytes"), [("L", 110 << 20), ("X01", 230 << 20)])
def test_what_a_machine_does_not_use_is_the_host_s(dcss: Dcss, name: str, most_bytes: int) -> None:
    """X01's QEMU has 90 MiB of its own; 277 MiB were private with a bounce buffer and large blocks alone reported."""
    pid = dcss.pid_of(name)
    # It reports every other second.
    wait_until(lambda: (private_bytes(pid) or 0) <= most_bytes, lambda: f"{private_bytes(pid)} bytes are private")


def test_a_machine_cannot_write_the_segment(dcss: Dcss) -> None:
    refused = dcss("exec", "X01", "--", "dd", "if=/dev/zero", "of=/dev/pmem0", "bs=4096", "count=1", status=None)
    assert refused.returncode != 0
    with open(f"/proc/{dcss.pid_of('X01')}/maps", encoding="ascii", errors="replace") as maps:
        found = [line.split()[1] for line in maps if f"dcss.{dcss.system}.LIB" in line]
    assert found == ["r--s"]


@pytest.mark.parametrize("name", ["L", "X01"])
def test_a_shell_in_a_machine_is_interactive(dcss: Dcss, name: str) -> None:
    terminal = Terminal(dcss)
    try:
        child = terminal.start("exec", "-it", name, "--", "sh")
        child.expect_exact("# ")
        child.send("stty size; tty\r")
        child.expect_exact("33 77")
        child.expect_exact("/dev/pts/")
        child.setwinsize(40, 120)
        child.send("stty size\r")
        child.expect_exact("40 120")
        child.send("sleep 1000\r")
        child.expect_exact("sleep 1000")
        child.send("\x03")
        child.expect_exact("# ")
        child.send("echo status $?\r")
        child.expect_exact("status 130")
        child.send("exit 3\r")
        child.expect(pexpect.EOF)
        assert child.wait() == 3
    finally:
        terminal.close()


def test_input_and_several_programs_at_once_reach_a_machine(dcss: Dcss) -> None:
    waiting = dcss.start("exec", "-i", "X01", "--", "md5sum", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert (
        dcss("exec", "X01", "--env", "A=b", "--workdir", "/proc", "--", "sh", "-c", "echo $A; pwd").stdout
        == "b\n/proc\n"
    )
    told, _ = waiting.communicate("text\n" * 100_000, timeout=300)
    assert told.split()[0] == hashlib.md5(b"text\n" * 100_000).hexdigest()
    assert "for guests of engine s390x" in dcss("exec", "--strace", "X01", "--", "ls", status=2).stderr


@needs("frames")
def test_without_dax_the_page_cache_grows_and_refutes(dcss: Dcss) -> None:
    """Last: the machine goes back to dax, and the verdict to what it was."""
    before = accounts(dcss)["X02"]["guest"]["page_cache_bytes"]
    dcss("exec", "X02", "--", "sh", "-c", "cat /mnt/usr/lib/big.so > /dev/null")
    assert accounts(dcss)["X02"]["guest"]["page_cache_bytes"] - before < BIG_BYTES / 10
    plain = "mount -t ext2 -o ro /dev/dcssblk0 /mnt && cat /mnt/usr/lib/big.so > /dev/null"
    unmount = f"{UNMAP}; until umount /mnt 2>/dev/null; do sleep 0.1; done"
    dcss("exec", "X02", "--", "sh", "-c", f"{unmount}; {plain}")
    assert accounts(dcss)["X02"]["guest"]["page_cache_bytes"] - before >= BIG_BYTES
    verdict = dcss.json("verify", dcss.system, status=1)
    assert verdict["verdict"] == "refuted"
    claims = {claim["claim"]: claim for claim in verdict["claims"]}
    assert claims["no-hidden-copies"]["holds"] is False
    pages = -(-BIG_BYTES // 4096)
    assert f"guest X02 (kernel): {pages} pages of LIB:/usr/lib/big.so" in claims["no-hidden-copies"]["detail"]
    assert claims["books-close"]["holds"] is True
    dcss("exec", "X02", "--", "sh", "-c", f"umount /mnt && {AS_BEFORE}")


SAVE = (
    "echo 0 > /sys/devices/dcssblk/LIB/shared; mount -t ext2 /dev/dcssblk0 /mnt; echo new > /mnt/usr/new; umount /mnt"
)


def test_a_machine_keeps_its_version_and_the_next_start_gets_the_new_one(dcss: Dcss) -> None:
    """Last of all: M writes to LIB alone and saves it."""
    dcss("exec", "M", "--", "sh", "-c", f"{SAVE}; echo 1 > /sys/devices/dcssblk/LIB/save")
    old = dcss("exec", "X01", "--", "ls", "/mnt/usr").stdout.split()
    assert "new" not in old
    classes = [line.split()[3:5] for line in dcss("cp", "QUERY NSS USERS", "--system", dcss.system).stdout.splitlines()]
    assert ["P", "00006"] in classes
    dcss("guest", "restart", "X01", timeout_seconds=SECONDS)
    dcss.wait_for("X01", "ready", 200)
    assert sorted(dcss("exec", "X01", "--", "ls", "/mnt/usr").stdout.split()) == sorted([*old, "new"])
    assert dcss("exec", "X02", "--", "ls", "/mnt/usr").stdout.split() == old
