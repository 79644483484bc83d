"""Whatever part of a system dies, or a limit of the machine is met: it is told, and nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import BUSY, GUEST, MAP, Dcss, made_user
from needs_support import needs
from wait_support import kill, stop, wait_connected, wait_until


def test_a_killed_guest_is_seen_at_once_and_its_segment_released(dcss: Dcss) -> None:
    dcss("up", dcss.guests(3), "-d")
    kill(dcss.pid_of("G02"))
    form = dcss.ps()  # no waiting: CP hears of the death before it answers
    assert dcss.states() == {"G01": "ready", "G02": "killed", "G03": "ready"}
    assert form["segments"][0]["guests"] == 2
    killed = dcss.ps()["guests"][1]
    assert (killed["pid"], killed["segments"], killed["exit_status"]) == (None, [], -signal.SIGKILL)
    assert dcss.json("verify")["verdict"] == "verified"
    assert "guest G02: killed by SIGKILL" in dcss("logs").stdout
    dcss("down")
    dcss.assert_nothing_left()


def test_a_killed_guest_is_started_again_where_its_policy_says_so(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2, ", restart: on-failure"), "-d")
    for restarts in (1, 2):
        pid = dcss.pid_of("G01")
        kill(pid)
        dcss.wait_for("G01", "ready", not_pid=pid)
        assert dcss.ps()["guests"][0]["restarts"] == restarts
    kill(dcss.pid_of("G01"))
    wait_until(lambda: dcss.guest_statuses()[0].restarts == 3)  # this one comes after two seconds
    dcss("guest", "stop", "G01")
    assert dcss.states()["G01"] == "stopped"
    time.sleep(2.2)
    assert dcss.states()["G01"] == "stopped"
    assert dcss.json("verify")["verdict"] == "verified"
    dcss("down")
    dcss.assert_nothing_left()


def test_a_killed_cp_takes_its_guests_along_and_the_next_start_cleans_up(dcss: Dcss) -> None:
    other = f"{dcss.system}x"
    dcss("up", dcss.config(f"name: O, {GUEST}, {MAP}", name=other, path="other.yaml"), "-d")
    config = dcss.guests(3)
    dcss("up", config, "-d")
    cp = dcss.ps()["pid"]
    kill(cp)
    # The other system's CP, fork server and guest stay.
    wait_until(lambda: len(dcss.processes()) <= 3, dcss.processes)
    assert f"dcss.{dcss.system}.LIB.1" in dcss.segment_objects()
    (dead,) = dcss.json("ps", dcss.system)["systems"]
    assert (dead["state"], dead["pid"]) == ("dead", cp)
    assert f"{dcss.system}: its CP (process {cp}) is dead" in dcss("ps").stdout
    assert "dcssblk: Loaded LIB" in dcss("logs", "G01", "--system", dcss.system).stdout
    told = dcss("exec", "G01", "--system", dcss.system, "--", "true", status=3)
    assert f"its CP (process {cp}) is dead; dcss down {dcss.system}" in told.stderr
    # Its number may have gone to anyone: what lives under it is not touched.
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (dcss.directory / "pid").write_text(f"{bystander.pid}\n")
        dcss("up", config, "-d")
        assert bystander.poll() is None
        bystander.kill()
    assert dcss.states() == {"G01": "ready", "G02": "ready", "G03": "ready"}
    noted = dcss("logs", "--system", dcss.system).stdout
    assert f"removed what a CP that was killed left: /dcss.{dcss.system}.LIB.1" in noted
    assert other + "." not in noted
    assert dcss.json("verify", dcss.system)["verdict"] == "verified"
    assert dcss.json("verify", other)["verdict"] == "verified"
    kill(dcss.ps()["pid"])
    (removed,) = dcss.json("down", dcss.system)["systems"]
    assert removed["was"] == "dead"
    assert f"/dcss.{dcss.system}.LIB.1" in removed["removed"]
    assert dcss.json("ps")["systems"][0]["system"] == other
    # As systemd-logind does with the user's last session: nothing but the object is left to find it by.
    dcss("up", config, "-d")
    kill(dcss.ps()["pid"])
    shutil.rmtree(dcss.directory)
    (removed,) = dcss.json("down", dcss.system)["systems"]
    left = [f"/dcss.{dcss.system}.{name}" for name in ("LIB.1", "stats")]
    assert (removed["was"], removed["removed"]) == ("dead", left)
    assert dcss.json("down", dcss.system)["systems"] == []
    dcss("down", other)
    dcss.assert_nothing_left()


def test_a_cp_that_is_killed_while_it_goes_down_is_cleaned_up_after(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d")
    cp = dcss.ps()["pid"]
    stop(cp)
    with dcss.start("down", "--json", stdout=subprocess.PIPE) as process:
        wait_connected(process.pid)
        kill(cp)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    (done,) = json.loads(out)["systems"]
    assert (done["was"], done["error"]) == ("dead", None)
    assert f"/dcss.{dcss.system}.LIB.1" in done["removed"]
    dcss.assert_nothing_left()


def test_sigterm_takes_a_background_system_down(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d")
    cp = dcss.ps()["pid"]
    os.kill(cp, signal.SIGHUP)  # what a closed terminal sends is not heard
    assert dcss.states() == {"G01": "ready", "G02": "ready"}
    os.kill(cp, signal.SIGTERM)
    dcss.assert_nothing_left()


def test_a_killed_fork_server_ends_the_system_and_the_log_says_so(dcss: Dcss) -> None:
    config = dcss.guests(2)
    dcss("up", config, "-d")
    (server,) = [pid for pid, name in dcss.processes().items() if name == "dcss:forkserver"]
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not dcss.processes(), dcss.processes)
    assert dcss.objects() == []
    line = dcss("ps").stdout
    assert "is dead" in line
    assert f"fork server (process {server}) ended by signal 9; its guests ended with it" in line
    assert f"fork server (process {server})" in dcss("logs").stdout
    dcss("up", config, "-d")
    assert set(dcss.states().values()) == {"ready"}
    dcss("down")
    dcss.assert_nothing_left()


def test_a_killed_fork_server_ends_a_foreground_system_with_an_error(dcss: Dcss) -> None:
    with dcss.start("up", dcss.guests(2), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert "Ctrl-C takes it down" in process.stdout.readline()
        (server,) = [pid for pid, name in dcss.processes().items() if name == "dcss:forkserver"]
        os.kill(server, signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 3
    assert f"dcss: fork server (process {server}) ended by signal 9" in err
    dcss.assert_nothing_left()


def test_a_cp_killed_before_its_system_is_up_is_told_to_the_caller(dcss: Dcss) -> None:
    with dcss.start("up", dcss.config(*BUSY), "-d", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not [name for name in dcss.processes().values() if name.startswith("dcss:G")]:
            assert process.poll() is None
        (cp,) = [pid for pid, name in dcss.processes().items() if name == "dcss:cp"]
        os.kill(cp, signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 3
    assert f"dcss: CP (process {cp}) ended by signal 9 before its system was up" in err
    dcss("down")
    dcss.assert_nothing_left()


@needs("mounts")
@pytest.mark.parametrize("dcss", ["self"], indirect=True)  # only root may mount
def test_a_full_dev_shm_is_told_before_anything_is_made(dcss: Dcss) -> None:
    mount = "mount -t tmpfs -o size=1M none /dev/shm"
    small = ["unshare", "-m", "sh", "-c", f'{mount} && "$@" && exit; status=$?; ls /dev/shm; exit $status', "sh"]
    told = dcss("up", dcss.guests(2), "-d", status=3, prefix=small)
    assert told.stdout == ""
    (line,) = [line for line in told.stderr.splitlines() if line.startswith("dcss:")]
    assert "segment LIB: needs " in line
    assert "available of 1048576 bytes" in line
    assert "mount -o remount,size=SIZE /dev/shm, or docker run --shm-size=SIZE" in line
    two = "\n".join(
        f"  - {{name: {name}, at: {at}, image: {{directory: tree}}}}" for name, at in (("ONE", "1G"), ("TWO", "2G"))
    )
    larger = [word.replace("size=1M", "size=2M") for word in small]  # for either of them, not for both
    told = dcss("up", dcss.config(f"name: G, {GUEST}, {MAP}", segment=two), "-d", status=3, prefix=larger)
    assert "segment ONE, TWO: needs " in told.stderr
    assert "publish" not in told.stderr
    dcss.assert_nothing_left()


@needs("mounts")
@pytest.mark.parametrize("dcss", ["self"], indirect=True)  # only root may mount
def test_a_full_runtime_directory_is_told(dcss: Dcss) -> None:
    fill = f"mount -t tmpfs -o size=4k,mode=700 none {dcss.runtime} && echo full > {dcss.runtime}/full"
    full = ["unshare", "-m", "sh", "-c", f'{fill} && exec "$@"', "sh"]
    told = dcss("up", dcss.guests(1), "-d", status=3, prefix=full)
    (line,) = [line for line in told.stderr.splitlines() if line.startswith("dcss:")]
    assert "No space left on device" in line
    dcss.assert_nothing_left()


def test_too_few_descriptors_are_told_before_anything_is_made(dcss: Dcss) -> None:
    told = dcss("up", dcss.guests(200), "-d", status=3, prefix=["prlimit", "--nofile=200:200"])
    assert told.stdout == ""
    (line,) = told.stderr.splitlines()
    assert line == (
        "dcss: 200 guests and 1 segments need 1062 descriptors, found a limit of 200 (RLIMIT_NOFILE); raise it:"
        " ulimit -Hn 1062, or LimitNOFILE= of the service"
    )
    dcss.assert_nothing_left()


def test_the_soft_limit_of_descriptors_is_raised(dcss: Dcss) -> None:
    dcss("up", dcss.guests(30), "-d", prefix=["prlimit", "--nofile=40:4096"])
    assert set(dcss.states().values()) == {"ready"}
    dcss("down")
    dcss.assert_nothing_left()


@pytest.fixture
def user() -> Iterator[Dcss]:
    with made_user(uid=40_000 + os.getpid() % 20_000) as made:
        yield made


@needs("other_users")
def test_too_few_processes_fail_the_guests_that_have_none(user: Dcss) -> None:
    told = user("up", user.guests(20), "-d", status=3, prefix=["prlimit", "--nproc=20:20"])
    assert "fork: Resource temporarily unavailable; processes are limited by RLIMIT_NPROC (ulimit -u, here 20)" in (
        told.stdout
    )
    states = list(user.states().values())
    assert states.count("ready") >= 5  # of 20: CP with its threads, fork server, template and `up` take the others
    assert states.count("failed") >= 5
    assert len(states) == 20
    failed = next(guest for guest in user.ps()["guests"] if guest["state"] == "failed")
    assert (failed["exit_status"], failed["pid"]) == (71, None)
    user("down")
    user.assert_nothing_left()


def test_a_guest_with_too_many_mappings_is_told_of_the_limit(dcss: Dcss) -> None:
    limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    pieces = 2000
    if limit > 200_000:
        pytest.skip(f"vm.max_map_count is {limit}: it would take too long to reach it")
    with (dcss.home / "tree/scattered").open("wb") as file:
        for piece in range(pieces):
            file.seek(2 * piece * 4096)
            file.write(bytes((piece % 255 + 1,)) * 4096)
    steps = ", ".join(["{map: /scattered}"] * (limit // (2 * pieces) + 2))
    told = dcss("up", dcss.config(f"name: G, {GUEST}, run: [{steps}]"), "-d", status=3)
    assert "FAILED    G: failed with status 1" in told.stdout
    assert "Cannot allocate memory" in told.stdout
    assert f"vm.max_map_count is {limit}: let the guest map fewer" in told.stdout
    assert dcss.states() == {"G": "failed"}
    dcss("down")
    dcss.assert_nothing_left()


def test_a_caller_that_ignores_its_children_changes_nothing(dcss: Dcss) -> None:
    ignoring = ["env", "--ignore-signal=CHLD"]
    dcss("run", dcss.guests(2), prefix=ignoring)
    dcss("up", dcss.guests(2), "-d", prefix=ignoring)
    assert set(dcss.states().values()) == {"ready"}
    dcss("down")
    dcss.assert_nothing_left()
