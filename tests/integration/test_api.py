"""The Python API: a system from a path, text or dict; its guests, verdict and account; and that nothing is left."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from api_support import COPYING, LIBRARIES, SHARING, plan
from cli_support import Dcss
from wait_support import wait_until

import dcss

PROGRAMS = Path(__file__).parents[2] / "configs/s390x-programs/root"
CONFIGURED = """
system: {name}
segments:
  - {{name: LIB, at: 0x20000000, image: {{directory: tree}}}}
guests:
  - {{name: G, mounts: [{{device: dcssblk0, at: /, options: [ro, xip]}}], run: [{{map: "/usr/lib/**/*.so*"}}]}}
"""


def test_a_system_is_up_in_the_block_and_gone_after_it(home: Dcss) -> None:
    with dcss.System(plan(home)) as system:
        assert system.name == home.system
        assert list(system.guests) == ["G01", "G02"]
        done = system.guests["G01"].exec(["ls", "/usr/lib"])
        assert (done.exit_status, done.stdout.split()[0], done.stderr) == (0, "lib00.so", "")
        assert done.columns() == tuple(done.rows()[0]) == ("guest", "exit_status", "stdout", "stderr")
        assert system.status().state == "up"
        assert home.states() == {"G01": "ready", "G02": "ready"}
    home.assert_nothing_left(seconds=0)
    with pytest.raises(dcss.ConfigError, match="found it not started"):
        system.status()


def test_evidence_that_cannot_be_written_is_a_wrong_argument(home: Dcss) -> None:
    with dcss.System(plan(home)) as system:
        with pytest.raises(dcss.ConfigError, match=r"evidence: found no directory nowhere, wanted one to write e.json"):
            system.verify("nowhere/e.json")
        with pytest.raises(dcss.ConfigError, match="evidence: found a directory at tree"):
            system.verify("tree")
        assert system.verify("e.json").verdict == "verified"


def test_the_verdict_and_the_account_are_data(home: Dcss) -> None:
    with dcss.System(plan(home)) as system:
        verdict = system.verify()
        account = system.measure()
        command = home.json("measure", home.system)
    verdict.raise_if_refuted()
    verdict.raise_unless_verified()
    assert [row["claim"] for row in verdict.rows()] == [claim.claim for claim in verdict.claims]
    assert {row["path"] for row in verdict.rows("files")} >= {"/usr/lib/lib00.so"}
    rows = account.rows()
    assert [row["name"] for row in rows] == ["G01", "G02"]
    assert all(type(row) is dict and row["xip_bytes"] == rows[0]["xip_bytes"] > 0 for row in rows)
    assert json.loads(account.to_json())["guests"][0]["host"]["uss_bytes"] == rows[0]["uss_bytes"]
    assert command["totals"] == account.to_document()["totals"]
    with pytest.raises(dcss.ConfigError, match="MeasureResult: found 'pages', wanted one of guests, segments, others"):
        account.rows("pages")
    with pytest.raises(AttributeError):
        verdict.verdict = "verified"  # type: ignore[misc]


def test_a_refuted_and_an_unproved_verdict_are_raised_as_what_they_are(home: Dcss) -> None:
    with dcss.System(plan(home, {**COPYING, "expect": "shared"})) as system:
        verdict = system.verify()
    assert verdict.verdict == "refuted"
    with pytest.raises(dcss.RefutedError, match=r"refuted: one-frame-per-page: .*nothing was mapped"):
        verdict.raise_unless_verified()
    with pytest.raises(dcss.NotVerifiedError) as caught:
        verdict.raise_if_refuted()
    assert pickle.loads(pickle.dumps(caught.value)).findings == caught.value.findings
    with dcss.System(plan(home, {**SHARING, "expect": "nothing"})) as system:
        system.guests["G01"].stop()
        system.guests["G02"].stop()
        verdict = system.verify()
    verdict.raise_if_refuted()
    with pytest.raises(dcss.UnprovedError):
        verdict.raise_unless_verified()


@pytest.mark.slow
def test_a_path_yaml_text_and_a_dict_say_the_same(home: Dcss) -> None:
    text = CONFIGURED.format(name="named-in-it")
    Path("demo.yaml").write_text(text)
    for config in ("demo.yaml", Path("demo.yaml"), text, "{" + json.dumps(plan(home))[1:]):
        with dcss.System(config, name=f"{home.system}-2") as system:
            assert system.name == f"{home.system}-2"
            assert next(iter(system.guests)) in {"G", "G01"}
    with dcss.System(text) as system:
        assert system.name == "named-in-it"
    nameless = plan(home)
    del nameless["system"]
    with dcss.System(nameless) as one, dcss.System(nameless) as other:
        assert one.name != other.name
    elsewhere = home.home / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    with dcss.System(plan(home, {**SHARING, "name": "L"}), directory=home.home) as system:
        assert list(system.guests) == ["L01", "L02"]
    home.assert_nothing_left(seconds=0)


def test_what_is_wrong_is_raised_as_what_it_is_and_nothing_is_left(home: Dcss) -> None:
    wrong: list[tuple[Any, type[Exception], str]] = [
        ("missing.yaml", dcss.ConfigError, "missing.yaml: found No such file or directory, wanted a readable YAML"),
        ({"segments": [{"nme": "LIB"}]}, dcss.ConfigError, r"configuration:1: segments\[0\].nme: found an unknown key"),
        ("a: 1\nb: [", dcss.ConfigError, "configuration:2: document: "),
        ({"guests": object()}, dcss.ConfigError, "configuration: found what YAML cannot hold"),
        (plan(home, segments=[{**LIBRARIES, "size": "4K"}]), dcss.ConfigError, r"\[0\].size: .*the image needs"),
        (plan(home, segments=[{**LIBRARIES, "image": {"directory": "no"}}]), dcss.ConfigError, "wanted"),
        (plan(home, {**SHARING, "run": [{"map": "/nothing*"}]}), dcss.GuestFailedError, "guest G01: failed: .*nothing"),
    ]  # fmt: skip
    for config, kind, message in wrong:
        with pytest.raises(kind, match=message), dcss.System(config):
            pass
        home.assert_nothing_left(seconds=0)
    with dcss.System(plan(home)), pytest.raises(dcss.SystemBusyError, match="already runs"):
        dcss.System(plan(home)).start()
    with pytest.raises(dcss.ConfigError, match="a name that matches"):
        dcss.System(plan(home), name="No Name").start()


def test_failed_guests_may_be_allowed(home: Dcss) -> None:
    failing = {**SHARING, "name": "F", "count": 1, "run": [{"map": "/nothing*"}]}
    with dcss.System(plan(home, SHARING, failing), allow_failed_guests=True) as system:
        assert system.guests["F01"].status().state == "failed"
        assert "nothing" in system.guests["F01"].log()
        with pytest.raises(dcss.LaunchError, match="guest F01: exec needs a guest that is ready"):
            system.guests["F01"].exec(["ls"])


def test_commands_in_guests(home: Dcss) -> None:
    Path("tree/large").write_bytes(bytes(range(125)) * 160_000)
    with dcss.System(plan(home)) as system:
        guest = system.guests["G02"]
        failed = guest.exec(["cat", "/missing"])
        assert failed.exit_status == 1
        assert "missing" in failed.stderr
        with pytest.raises(dcss.ExecError, match=r"guest G02: the command ended with status 1: .*/missing") as caught:
            guest.exec(["cat", "/missing"], check=True)
        assert pickle.loads(pickle.dumps(caught.value)).stderr == failed.stderr
        pieces: list[tuple[str, bytes]] = []
        guest.exec(["cat", "/usr/lib/lib01.so"], on_output=lambda *piece: pieces.append(piece))
        assert b"".join(data for _, data in pieces) == Path("tree/usr/lib/lib01.so").read_bytes()
        binary = guest.exec(["cat", "/usr/lib/lib02.so"]).stdout
        assert binary.encode(errors="surrogateescape") == Path("tree/usr/lib/lib02.so").read_bytes()
        with pytest.raises(dcss.ConfigError, match="wanted a list of words"):
            guest.exec("ls /")
        with pytest.raises(dcss.LaunchError, match=r"guest G02: the command did not end within 0.2 s: it is") as late:
            guest.exec(["cat", *["/large"] * 400], timeout_seconds=0.2)
        assert not isinstance(late.value, dcss.NotAnsweringError), "CP is well"
        before = guest.status()
        assert guest.restart().pid != before.pid
        assert guest.stop().state == "stopped"
        assert guest.start().state == "ready"
        assert "LIB" in "".join(system.cp("QUERY NSS"))
        with pytest.raises(dcss.DcssError, match="HCP"):
            system.cp("QUERY NSENSE")


def test_a_system_that_runs_is_attached_to_and_stays_up(home: Dcss) -> None:
    with pytest.raises(dcss.ConfigError, match="SYSTEM: found none that runs"):
        dcss.System.attach()
    home("up", home.guests(2), "-d")
    with dcss.System.attach() as system, dcss.System.attach(home.system) as same:
        assert system.name == same.name == home.system
        assert system.verify().verdict == "verified"
    assert home.states() == {"G01": "ready", "G02": "ready"}
    dcss.System.attach().down()
    home.assert_nothing_left()


def test_calls_may_come_from_many_threads(home: Dcss) -> None:
    found: list[object] = []
    with dcss.System(plan(home, {**SHARING, "count": 8})) as system:
        calls = [partial(guest.exec, ["cat", "/proc/mounts"]) for guest in system.guests.values()]
        threads = [threading.Thread(target=lambda call=call: found.append(call())) for call in [*calls, system.measure]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 9


def test_a_system_may_be_started_in_a_thread_and_where_an_event_loop_runs(home: Dcss) -> None:
    import asyncio

    async def in_a_notebook() -> str:
        with dcss.System(plan(home)) as system:  # blocks the loop, and works
            return system.verify().verdict

    assert asyncio.run(in_a_notebook()) == "verified"
    states = []

    def work() -> None:
        with dcss.System(plan(home)) as system:
            states.append(system.status().state)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert states == ["up"]


PROGRAM = """
import os, signal, sys, time
import dcss
system = dcss.System({config!r}).start()
print("up", flush=True)
{then}
"""


def program(home: Dcss, then: str, config: dict[str, Any] | None = None) -> "subprocess.Popen[str]":
    path = home.home / "program.py"
    path.write_text(PROGRAM.format(config=config or plan(home), then=then))
    return subprocess.Popen(
        [sys.executable, str(path)],
        cwd=home.home,
        env=home.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    "then",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os._exit(3)",
        "os.fork() or time.sleep(30)\nos._exit(3)",
        "sys.exit(3)",
        "raise KeyboardInterrupt",
        "del system",
    ],
)
def test_a_program_that_ends_without_a_word_takes_its_system_with_it(home: Dcss, then: str) -> None:
    with program(home, then) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "up\n"
        started.wait()
        home.assert_nothing_left() if "fork" not in then else gone(home)


def gone(home: Dcss) -> None:
    """Wait until nothing of the system is left; a process that the program forked may live."""
    wait_until(lambda: not home.objects() and not home.directory.exists())
    home.sweep()


def test_a_fork_of_the_program_leaves_the_system_alone(home: Dcss) -> None:
    with dcss.System(plan(home)) as system:
        pid = os.fork()
        if pid == 0:
            try:
                system.close()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert system.status().state == "up"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_while_it_starts_leaves_nothing_behind(home: Dcss, number: signal.Signals) -> None:
    slow = {**SHARING, "name": "S", "count": 1, "run": [{"exec": ["sleep", "600"]}]}
    path = home.home / "program.py"
    path.write_text(f"import dcss\ndcss.System({plan(home, slow)!r}).start()\n")
    with subprocess.Popen([sys.executable, str(path)], cwd=home.home, env=home.environment) as started:
        wait_until(home.segment_objects)
        home.wait_for("S01", "running")
        started.send_signal(number)
        assert started.wait(300) == -number
    home.assert_nothing_left()


def test_a_cp_that_is_killed_is_missed_and_swept(home: Dcss) -> None:
    with (
        pytest.raises(dcss.LaunchError, match="ended by signal 9; what it left is gone"),
        dcss.System(plan(home)) as system,
    ):
        os.kill(system.status().pid, signal.SIGKILL)
    home.assert_nothing_left()
    with pytest.raises(ZeroDivisionError), dcss.System(plan(home)) as system:
        os.kill(system.status().pid, signal.SIGKILL)
        raise ZeroDivisionError
    home.assert_nothing_left()


@pytest.mark.slow
def test_a_cp_that_was_stopped_is_taken_down(home: Dcss) -> None:
    with dcss.System(plan(home)) as system:
        os.kill(system.status().pid, signal.SIGSTOP)
        with pytest.raises(dcss.NotAnsweringError):
            system.status()
    home.assert_nothing_left()


def test_a_program_in_a_directory_with_odd_modules_has_a_cp_of_the_package(home: Dcss) -> None:
    Path("json.py").write_text("raise SystemExit('the wrong json')")
    with dcss.System(plan(home)) as system:
        assert system.status().state == "up"


def test_programs_get_input_variables_and_a_directory(home: Dcss) -> None:
    guest = {"name": "Z", "engine": "s390x", "mounts": SHARING["mounts"]}
    segment = {**LIBRARIES, "image": {"directory": str(PROGRAMS)}}
    with dcss.System(plan(home, guest, segments=[segment])) as system:
        program = system.guests["Z"]
        assert program.exec(["cat"], input="text é\udcff").stdout == "text é\udcff"
        large = bytes(range(256)) * 4000
        assert program.exec(["cat"], input=large).stdout.encode(errors="surrogateescape") == large
        assert program.exec(["cat"], input=b"").exit_status == 0
        assert "A=b\n" in program.exec(["env"], env={"A": "b"}).stdout
        assert program.exec(["ls"], cwd="/bin", check=True).stdout == program.exec(["ls", "/bin"]).stdout
