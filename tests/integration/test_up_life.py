"""A system's life by the command line: up, looked at, worked in, down, and nothing left."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from cli_support import BUSY, GUEST, MAP, Dcss, raw
from wait_support import wait_at_rest, wait_until


def test_a_whole_life_in_the_background(dcss: Dcss) -> None:
    done = dcss("up", dcss.guests(3), "-d")
    assert done.stdout.startswith(f"{dcss.system}: up in ")
    assert "3 guests ready" in done.stdout
    form = dcss.ps()
    assert form["state"] == "up"
    assert [guest["state"] for guest in form["guests"]] == ["ready"] * 3
    assert all(guest["segments"] == ["LIB"] and guest["private_bytes"] > 0 for guest in form["guests"])
    assert form["segments"][0]["guests"] == 3
    assert "G02" in dcss("ps").stdout
    verdict = dcss.json("verify")
    assert verdict["verdict"] == "verified"
    account = dcss.json("measure")
    assert [guest["guest"]["xip_bytes"] for guest in account["guests"]] == [20 * 15 * 4096] * 3
    assert dcss("verify").stdout.startswith("VERIFIED")
    assert "each counted alone" in dcss("measure").stdout
    assert "dcssblk: Loaded LIB" in dcss("logs", "G01").stdout
    assert "up with 3 guests" in dcss("logs").stdout
    assert dcss("down").stdout.endswith("3 guests ended\n")
    assert dcss.left() == []  # at once: not when it has had time
    assert dcss("ps").stdout == "no system runs\n"


def test_the_background_has_nothing_of_the_caller(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d", pass_fds=[os.open("/etc/hostname", os.O_RDONLY)])
    names = dcss.processes()
    for pid in names:
        wait_at_rest(pid)  # the pipe to the caller is closed right after its last word
    assert sorted(names.values()) == ["dcss:G01", "dcss:G02", "dcss:cp", "dcss:forkserver", "dcss:template"]
    for pid, name in names.items():
        assert os.getsid(pid) != os.getsid(0)
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115
        assert not [link for link in links if "tty" in link or "pts" in link or "hostname" in link or "pipe:" in link]
        if name == "dcss:cp":
            assert os.getsid(pid) == pid
            assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
    assert (dcss.directory / "control").stat().st_mode & 0o777 == 0o600
    assert dcss.directory.stat().st_mode & 0o777 == 0o700
    dcss("down")
    dcss.assert_nothing_left()


def test_a_second_up_is_refused_and_disturbs_nothing(dcss: Dcss) -> None:
    config = dcss.guests(2)
    dcss("up", config, "-d")
    before = dcss.ps()
    for arguments in (("up", config, "-d"), ("up", config), ("run", config)):
        refused = dcss(*arguments, status=3)
        assert refused.stdout == ""
        (line,) = refused.stderr.splitlines()
        assert f"system {dcss.system}: its CP already runs (process {before['pid']})" in line
    after = dcss.ps()
    assert [guest["pid"] for guest in after["guests"]] == [guest["pid"] for guest in before["guests"]]
    dcss("down")
    dcss.assert_nothing_left()


def test_systems_side_by_side_must_be_named(dcss: Dcss) -> None:
    names = [f"{dcss.system}a", f"{dcss.system}b"]
    for name in names:
        config = dcss.config(f"name: G, {GUEST}, {MAP}", name=name, path=f"{name}.yaml")
        dcss("up", config, "-d")
    for command in (("verify",), ("measure",), ("down",), ("exec", "G", "--", "true"), ("guest", "stop", "G")):
        refused = dcss(*command, status=2)
        assert refused.stderr == f"SYSTEM: found 2 that run, wanted the name of one of {', '.join(names)}\n"
    assert [form["system"] for form in dcss.json("ps")["systems"]] == names
    assert dcss.json("verify", names[1])["system"] == names[1]
    assert dcss("exec", "G", "--system", names[0], "--", "echo", "here").stdout == "here\n"
    dcss("down", names[0])
    assert dcss.json("verify")["system"] == names[1]
    dcss("down", "--all")
    dcss.assert_nothing_left()


def test_what_is_wrong_is_told_once_and_leaves_nothing(dcss: Dcss) -> None:
    wrong = dcss("up", dcss.config("name: G, storag: 1M"), "-d", status=2)
    assert len(wrong.stderr.splitlines()) == 1
    missing = dcss.config(f"name: G, {GUEST}", segment="  - {name: LIB, at: 1G, image: {directory: nowhere}}")
    for command in (("up", missing, "-d"), ("up", missing)):
        told = dcss(*command, status=2)
        (line,) = told.stderr.splitlines()
        assert "nowhere" in line
        assert told.stdout == ""
    dcss.assert_nothing_left()


def test_a_guest_that_fails_is_told_and_the_others_stay(dcss: Dcss) -> None:
    config = dcss.config(f"name: BAD, {GUEST}, run: [{{map: /nosuch}}]", f"name: GOOD, {GUEST}, {MAP}")
    done = dcss("up", config, "-d", status=3)
    assert "FAILED    BAD: failed with status 1" in done.stdout
    assert done.stdout.count("matches no regular file") == 1
    assert "1 guest ready, 1 failed" in done.stdout
    bad, good = dcss.ps()["guests"]
    assert (bad["state"], bad["pid"], bad["exit_status"]) == ("failed", None, 1)
    assert "matches no regular file" in bad["reason"]
    assert (good["state"], good["exit_status"]) == ("ready", None)
    dcss("down")
    dcss.assert_nothing_left()


def test_exec_is_the_command_in_the_guest(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d")
    assert dcss("exec", "G01", "--", "echo", "hello").stdout == "hello\n"
    failed = dcss("exec", "G01", "--", "cat", "/nosuch", status=None)
    assert failed.returncode not in {0, 3}
    assert "/nosuch" in failed.stderr
    assert failed.stdout == ""
    done = dcss.json("exec", "G02", "--", "echo", "héllo")
    assert done == {"guest": "G02", "exit_status": 0, "stdout": "héllo\n", "stderr": ""}
    content = dcss.start("exec", "G01", "--", "cat", "/usr/lib/lib07.so", stdout=subprocess.PIPE)
    assert content.stdout is not None
    assert raw(content.stdout).read() == (dcss.home / "tree/usr/lib/lib07.so").read_bytes()
    content.stdout.close()
    assert content.wait(300) == 0
    nobody = dcss("exec", "G03", "--", "true", status=2)
    assert "guest: found 'G03', wanted one of system" in nobody.stderr
    assert "G01, G02" in nobody.stderr
    dcss("guest", "stop", "G02")
    assert "needs a guest that is ready" in dcss("exec", "G02", "--", "true", status=3).stderr
    dcss("down")
    dcss.assert_nothing_left()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_a_slow_reader_makes_its_command_wait_and_nobody_else(dcss: Dcss) -> None:
    content = bytes(range(256)) * 40_000  # 10 MB: more than all buffers on the way together
    (dcss.home / "tree/large").write_bytes(content)
    dcss("up", dcss.guests(2), "-d")
    cp = dcss.ps()["pid"]
    before = resident_bytes(cp)
    with dcss.start("exec", "G01", "--", "cat", "/large", stdout=subprocess.PIPE) as slow:
        assert slow.stdout is not None
        first = raw(slow.stdout).read(10)
        assert "a command is under way" in dcss("exec", "G01", "--", "true", status=3).stderr
        assert dcss("exec", "G02", "--", "echo", "quick").stdout == "quick\n"
        assert resident_bytes(cp) - before < 5_000_000  # what nobody reads does not wait in CP
        limits = dcss.json("measure")["limits"]
        assert "guest G01: busy, so its own counters are the last that it sent" in limits
        assert dcss.json("verify")["verdict"] == "verified"
        assert first + raw(slow.stdout).read() == content
        assert slow.wait(300) == 0
    with dcss.start("exec", "G01", "--", "cat", "/large", stdout=subprocess.PIPE) as gone:
        assert gone.stdout is not None
        raw(gone.stdout).read(10)
        gone.kill()
    # Until the command has run for nobody.
    wait_until(lambda: dcss("exec", "G01", "--", "true", status=None).returncode == 0)
    dcss("down")
    dcss.assert_nothing_left()


def test_one_guest_is_stopped_started_and_restarted(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2, ", restart: on-failure"), "-d")
    first = dcss.pid_of("G01")
    assert dcss("guest", "stop", "G01").stdout == "G01: stopped\n"
    stopped = dcss.ps()["guests"][0]
    assert (stopped["state"], stopped["pid"], stopped["segments"], stopped["restarts"]) == ("stopped", None, [], 0)
    assert dcss("guest", "stop", "G01").stdout == "G01: stopped\n"
    assert dcss.json("verify")["verdict"] == "verified"
    assert dcss.json("guest", "start", "G01")["state"] == "ready"
    second = dcss.pid_of("G01")
    assert dcss("guest", "start", "G01").stdout == "G01: ready\n"
    assert dcss.pid_of("G01") == second
    assert "(did you mean G01?)" in dcss("guest", "start", "g01", status=2).stderr
    assert "(did you mean G01?)" in dcss("logs", "g01", status=2).stderr
    for command in ("ps", "verify", "measure"):
        named = dcss.json(command, "--system", dcss.system)
        assert named.keys() == dcss.json(command, dcss.system).keys()
        error = dcss.json(command, "--system", dcss.system, "other", status=2)["error"]
        assert error["lines"][0].startswith(f"dcss {command}: found SYSTEM other and --system {dcss.system}")
        assert f"(did you mean {dcss.system}?)" in dcss.json(command, f"{dcss.system}x", status=2)["error"]["lines"][0]
    assert dcss("guest", "restart", "G01").stdout == "G01: ready\n"
    assert len({first, second, dcss.pid_of("G01")}) == 3
    whole = dcss("logs", "G01").stdout
    assert whole.count("--- started again") == 2
    assert dcss("logs", "G01", "--tail", "2").stdout == "".join(whole.splitlines(keepends=True)[-2:])
    assert dcss.json("verify")["files"][0]["guests"] == ["G01", "G02"]
    dcss("down", "--system", dcss.system)
    dcss.assert_nothing_left()


def test_evidence_goes_where_the_caller_says(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d")
    dcss("verify", "--evidence", "frames.json")
    records = [json.loads(line) for line in (dcss.home / "frames.json").read_text().splitlines()]
    assert records[-1]["verdict"] == "verified"
    assert dcss("verify", "--evidence", "no/such/directory", status=2).stdout == ""
    dcss("down")
    dcss.assert_nothing_left()


def test_an_interrupted_caller_leaves_nothing(dcss: Dcss) -> None:
    process = dcss.start("up", dcss.config(*BUSY), "-d", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not any(name.startswith("dcss:G") for name in dcss.processes().values()):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    dcss.assert_nothing_left()


def test_down_while_guests_start_and_of_nothing(dcss: Dcss) -> None:
    assert dcss("down").stdout == "no system runs\n"
    assert dcss("down", "nosuch").stdout == "system nosuch does not run\n"
    assert dcss.json("down") == {"systems": []}
    process = dcss.start("up", dcss.config(*BUSY), "-d", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not any(name.startswith("dcss:G") for name in dcss.processes().values()):
        assert process.poll() is None, process.communicate()
    assert dcss.ps()["state"] == "starting"
    dcss("down")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 3
    assert f"system {dcss.system}: taken down while it was starting" in err
    dcss.assert_nothing_left()


def test_measure_watches(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d")
    with dcss.start("measure", "--watch", "0.1", "--json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 128 + signal.SIGINT
    assert all(len(document["guests"]) == 2 for document in documents)
    dcss("down")
    dcss.assert_nothing_left()


def test_logs_follow_until_the_system_is_down(dcss: Dcss) -> None:
    dcss("up", dcss.guests(1), "-d")
    with dcss.start("logs", "G01", "-f", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert "LIB" in process.stdout.readline()
        dcss("guest", "restart", "G01")
        while "started again" not in process.stdout.readline():
            assert process.poll() is None
        dcss("down")
        assert process.wait(300) == 0
    dcss.assert_nothing_left()


@pytest.mark.slow
def test_a_thousand_guests(dcss: Dcss) -> None:
    dcss("up", dcss.guests(1000), "-d", timeout_seconds=300)
    form = dcss.ps()
    assert [guest["state"] for guest in form["guests"]] == ["ready"] * 1000
    assert form["segments"][0]["guests"] == 1000
    descriptors = len(os.listdir(f"/proc/{form['pid']}/fd"))  # noqa: PTH208
    assert 3000 < descriptors < 3100
    (down,) = dcss.json("down")["systems"]
    assert down["guests"] == 1000
    assert dcss.left() == []
