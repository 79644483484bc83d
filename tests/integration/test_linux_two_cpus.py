"""Machines with two CPUs, both of which call CP at the same time."""

import os

import pytest
from cli_support import made_user
from needs_support import needs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.minutes,
    needs("debian_archive", "qemu-system-s390x", "qemu-system-x86_64"),
    pytest.mark.timeout(600),
]

KERNEL = "engine: linux, kernel: {debian: {suite: bookworm}}, cpus: 2, dcssblk: [LIB], expect: nothing"
# One CPU has DIAG X'64', and the other STSI, which is executed by QEMU one instruction long.
CALLS = """
repeat() { taskset $1 sh -c "i=0; while [ \\$i -lt $2 ]; do $3; i=\\$((i+1)); done" 2>/dev/null; }
cd /sys/devices/dcssblk
echo LIB >remove
repeat 1 15 'echo LIB >add; echo LIB >remove' &
repeat 2 90 'read -r all </proc/sysinfo' &
wait
echo LIB >add
grep -c ^processor /proc/cpuinfo
grep Control /proc/sysinfo
"""


def test_two_cpus_call_cp_at_the_same_time() -> None:
    with made_user() as made:
        made.environment["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
        segment = "  - {name: LIB, at: 0x10000000, image: {directory: tree}}"
        guests = (f"name: L, {KERNEL}", f"name: X, arch: x86_64, {KERNEL}")
        made("up", made.config(*guests, segment=segment), "-d", timeout_seconds=400)
        told = made("exec", "L", "--", "sh", "-c", CALLS, timeout_seconds=150).stdout
        assert [line.split() for line in told.splitlines()] == [
            ["2"],
            ["VM00", "Control", "Program:", "z/VM", "7.3.0"],
        ]
        assert made("exec", "X", "--", "nproc").stdout == "2\n"
        made("down", timeout_seconds=300)
        made.assert_nothing_left()
