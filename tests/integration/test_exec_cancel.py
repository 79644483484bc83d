"""Ctrl-C of `dcss exec`: the guest leaves the command where that does no harm, lives on, and takes the next one."""

import signal
import subprocess

import pytest
from cli_support import Dcss, raw
from wait_support import wait_until

LARGE_BYTES = 20_000_000


def interrupted(dcss: Dcss, line: str) -> int:
    """Interrupt a command once it has said something; return its client's exit status."""
    with dcss.start("exec", "G01", "--", "sh", "-c", line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert raw(client.stdout).read(5) == b"begin"
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=300)
    return client.returncode


def wait_until_free(dcss: Dcss) -> None:
    wait_until(
        lambda: dcss("exec", "G01", "--", "true", status=None).returncode == 0, lambda: "the command goes on for nobody"
    )


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("; sha256sum /large > /tmp/sum" * 400, id="between commands"),
        pytest.param("; sh -c '" + "; ".join(["sha256sum /large > /tmp/sum"] * 400) + "'", id="in a shell in a shell"),
        pytest.param("; cat" + " /large" * 400, id="between pieces of output"),
        pytest.param("; sleep 600", id="while it waits"),
        pytest.param("; sh -c 'sleep 600'", id="while it waits in a shell"),
    ],
)
def test_the_rest_of_a_command_is_not_run(dcss: Dcss, rest: str) -> None:
    (dcss.home / "tree/large").write_bytes(bytes(range(125)) * (LARGE_BYTES // 125))
    dcss("up", dcss.guests(2), "-d")
    pid = dcss.pid_of("G01")
    assert interrupted(dcss, f"echo begin{rest}; echo end > /tmp/end") == 130
    wait_until_free(dcss)
    assert "No such file" in dcss("exec", "G01", "--", "cat", "/tmp/end", status=1).stderr
    assert dcss.pid_of("G01") == pid
    dcss("exec", "G01", "--", "rm", "-f", "/tmp/sum", status=None)
    assert dcss.json("verify")["verdict"] == "verified"
    assert "Traceback" not in dcss("logs").stdout
    dcss("down")
    dcss.assert_nothing_left()
