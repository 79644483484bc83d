"""Ctrl-C of `dcss exec`: the guest leaves the command where that does no harm, lives on, and takes the next one."""

import signal
import subprocess
import time

import pytest
from cli_support import Dcss, raw

LARGE_BYTES = 20_000_000


def interrupted(dcss: Dcss, line: str) -> int:
    """Interrupt a command once it has said something; return its client's exit status."""
    with dcss.start("exec", "G01", "--", "sh", "-c", line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert raw(client.stdout).read(5) == b"begin"
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=10)
    return client.returncode


def wait_until_free(dcss: Dcss, seconds: float) -> None:
    end = time.monotonic() + seconds
    while dcss("exec", "G01", "--", "true", status=None).returncode != 0:
        assert time.monotonic() < end, "the command goes on for nobody"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("; sha256sum /large > /tmp/sum" * 400, id="between commands"),
        pytest.param("; sh -c '" + "; ".join(["sha256sum /large > /tmp/sum"] * 400) + "'", id="in a shell in a shell"),
        pytest.param("; cat" + " /large" * 400, id="between pieces of output"),
        pytest.param("; sleep 60", id="while it waits"),
        pytest.param("; sh -c 'sleep 60'", id="while it waits in a shell"),
    ],
)
def test_the_rest_of_a_command_is_not_run(dcss: Dcss, rest: str) -> None:
    (dcss.home / "tree/large").write_bytes(bytes(range(125)) * (LARGE_BYTES // 125))
    dcss("up", dcss.guests(2), "-d")
    pid = dcss.pid_of("G01")
    assert interrupted(dcss, f"echo begin{rest}; echo end > /tmp/end") == 130
    wait_until_free(dcss, 5)  # all of it takes longer than that by far
    assert "No such file" in dcss("exec", "G01", "--", "cat", "/tmp/end", status=1).stderr
    assert dcss.pid_of("G01") == pid
    dcss("exec", "G01", "--", "rm", "-f", "/tmp/sum", status=None)
    assert dcss.json("verify")["verdict"] == "verified"
    assert "Traceback" not in dcss("logs").stdout
    dcss("down")
    dcss.assert_nothing_left()
