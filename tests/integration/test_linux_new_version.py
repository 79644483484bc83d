"""A machine that runs loads the version that another one has saved, in the very frames that all others have of it."""

import os
import re
from pathlib import Path

import pytest
from cli_support import made_user
from needs_support import needs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.minutes,
    needs("debian_archive", "qemu-system-s390x"),
    pytest.mark.timeout(600),
]

KERNEL = "engine: linux, kernel: {debian: {suite: bookworm}}, privilege: EG"
GUESTS = f"name: L, count: 2, {KERNEL}, dcssblk: [LIB], expect: nothing"
DRIVER = "cd /sys/devices/dcssblk"
WRITE = "echo 0 > LIB/shared && echo NEWER | dd of=/dev/dcssblk0 bs=512 conv=notrunc && sync"
SAVE = f"{DRIVER}; {WRITE} && echo 1 > LIB/save"
AGAIN = f"{DRIVER}; echo LIB > remove && echo LIB > add && head -c 5 /dev/dcssblk0"


def test_a_newer_version_is_shared_by_machines_that_run() -> None:
    with made_user() as made:
        made.environment["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", f"{os.environ['HOME']}/.cache")
        segment = "  - {name: LIB, at: 0x10000000, image: {directory: tree}}"
        made("up", made.config(GUESTS, segment=segment), "-d", timeout_seconds=400)
        first = [_segment_of(made.pid_of(name)) for name in ("L01", "L02")]
        assert first[0] == first[1]
        made("exec", "L01", "--", "sh", "-c", SAVE, timeout_seconds=120)
        assert _segment_of(made.pid_of("L02")) == first[1]  # it keeps what it has
        for name in ("L01", "L02"):
            assert made("exec", name, "--", "sh", "-c", AGAIN, timeout_seconds=120).stdout == "NEWER"
        newer = [_segment_of(made.pid_of(name)) for name in ("L01", "L02")]
        assert newer[0] == newer[1] != first[0]
        made("down", timeout_seconds=300)
        made.assert_nothing_left()


def _segment_of(pid: int) -> str:
    """Return the object of the segment that a QEMU has mapped, of which it has no copies."""
    smaps = Path(f"/proc/{pid}/smaps").read_text()
    mapped = re.compile(r"(/dev/shm/dcss\.\S+\.LIB\.\d+).*?^Anonymous: +(\d+) kB", re.MULTILINE | re.DOTALL)
    ((found, copies),) = mapped.findall(smaps)
    assert copies == "0"
    return str(found)
