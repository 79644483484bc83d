"""A machine that does not answer is a row of the kernel tests, with its kernel's stacks, and does not end them."""

from pathlib import Path

import pytest
from needs_support import needs

from dcss.kernel_test import bench
from dcss.kernel_test.checks import check_of, chosen

pytestmark = [
    pytest.mark.slow,
    pytest.mark.minutes,
    needs("debian_archive", "qemu-system-s390x"),
    pytest.mark.timeout(400),
]

SILENT = "# The agent answers\n# limit: 6\nkill -STOP $(pidof agent)\n"


def test_a_silent_machine_tells_its_stacks_by_sysrq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, each in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
        (tmp_path / each).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / each))
    monkeypatch.setattr(bench, "_SPARE_SECONDS", 4.0)
    done = bench.test_kernel("debian:bookworm", [check_of("silent", SILENT), *chosen(("add",))])
    assert not done.untested
    silent, add = done.checks
    assert (silent.outcome, silent.message) == ("hung", "the machine did not answer within 10 s")
    assert "sysrq: Show backtrace of all active CPUs" in silent.details
    assert "sysrq: Show Blocked State" in silent.details
    assert add.outcome == "ok"
