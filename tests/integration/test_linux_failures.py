"""Machines that fail: each says why, the command's status tells, and nothing of them is left."""

import os
from collections.abc import Iterator

import pytest
from cli_support import Dcss, made_user
from needs_support import needs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.minutes,
    needs("debian_archive", "qemu-system-s390x"),
    pytest.mark.timeout(600),
]

SEGMENT = "  - {name: LIB, at: 0x10000000, image: {directory: tree}}"
GUEST = "engine: linux, kernel: {debian: {suite: bookworm}}, expect: nothing"


@pytest.fixture
def dcss() -> Iterator[Dcss]:
    with made_user() as made:
        made.environment["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
        yield made
        made.assert_nothing_left()


def test_a_panic_a_hang_too_little_storage_and_no_kernel_are_told_apart(dcss: Dcss) -> None:
    guests = (
        f"name: PANIC, {GUEST}, run: [{{exec: [sh, -c, 'echo c > /proc/sysrq-trigger']}}]",
        f"name: HANG, {GUEST}, time_limit: 60, run: [{{exec: [sh, -c, 'while :; do :; done']}}]",
        f"name: SMALL, {GUEST}, storage: 32M, run: [{{exec: ['true']}}]",
        "name: NONE, engine: linux, kernel: /bin/sh, expect: nothing, run: [{exec: ['true']}]",
    )
    done = dcss("run", dcss.config(*guests, segment=SEGMENT), status=3, timeout_seconds=400)
    said = {line.split("guest ")[1].partition(":")[0]: line for line in done.stdout.splitlines() if ": guest " in line}
    assert "its kernel panicked: sysrq triggered crash; dcss logs PANIC has all of it" in said["PANIC"]
    assert "longer than 60 s (time_limit:, boot included)" in said["HANG"]
    assert "storage: 32M may be too little for it" in said["SMALL"]
    assert "kernel /bin/sh: found an ELF file, such as vmlinux, wanted an image" in said["NONE"]
    assert "4 of 4 guests" in done.stdout
