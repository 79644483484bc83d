"""Engine s390x by the command line: programs as steps and by `dcss exec`, streams, terminals, signals and proofs."""

import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from cli_support import GUEST, Dcss, made_user
from elf390_support import PROGRAMS, install
from terminal_support import Terminal, is_raw
from wait_support import wait_until

# pexpect's pty forks without exec; by itself this process has no thread, a library's may.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
SEGMENT = "  - {name: ZBIN, at: 0x20000000, image: {directory: programs}}"
SECONDS = 180


def config(dcss: Dcss, *guests: str, name: str = "") -> Path:
    """Write a YAML whose guests have the programs at /."""
    return dcss.config(*guests, segment=SEGMENT, name=name, path=f"system{name}.yaml")


def is_root() -> bool:
    """Whether frames are shown."""
    return os.geteuid() == 0


def z(more: str, name: str = "Z") -> str:
    return f"name: {name}, engine: s390x, {GUEST}{more}"


@pytest.fixture(scope="module")
def dcss() -> Iterator[Dcss]:
    with made_user() as user:
        install(user.home / "programs")
        yield user


@pytest.fixture(scope="module")
def up(dcss: Dcss) -> Iterator[Dcss]:
    """A system that stays up, with two guests Z01 and Z02, each with a program that runs in the background."""
    step = "{exec: [pause], background: true}"
    dcss("up", config(dcss, z(f", count: 2, run: [{step}]")), "-d")
    yield dcss
    dcss("down")


def run(dcss: Dcss, run_list: str, *, status: int) -> str:
    """Run a system of one guest with this `run:` list; return what it prints."""
    done = dcss("run", config(dcss, z(f", {run_list}", name="R"), name=f"{dcss.system}-r"), status=status)
    return done.stdout + done.stderr


def test_a_program_runs_in_place_and_the_verdict_says_so(dcss: Dcss) -> None:
    result = dcss.json("run", config(dcss, z(", count: 3, run: [{exec: [hello]}]")))
    assert result["verify"]["verdict"] == "verified"
    # Of its neighbours in the segment the machine maps pages, too, for a guest that it can: not one that is in use.
    (hello,) = [file for file in result["verify"]["files"] if file["path"] == "/bin/hello"]
    assert (hello["guests"], hello["shared"]) == (["Z01", "Z02", "Z03"], True)
    for guest in result["measure"]["guests"]:
        assert guest["engine"] == "s390x"
        assert guest["guest"]["xip_bytes"] == 0  # no program runs any more
        assert guest["mapped_segment_bytes"] > 0  # what ran is mapped still
        assert guest["guest"]["page_cache_bytes"] == 0
    mapped_bytes = sum(guest["mapped_segment_bytes"] for guest in result["measure"]["guests"])
    assert mapped_bytes == result["measure"]["totals"]["without_sharing_bytes"]


def test_programs_that_wait_in_the_background_are_proved_while_they_run(up: Dcss) -> None:
    result = up.json("verify")
    assert result["verdict"] == "verified"
    (pause,) = [file for file in result["files"] if file["path"] == "/bin/pause"]
    assert (pause["guests"], pause["shared"]) == (["Z01", "Z02"], True)
    # It has one page of code, so both programs' instruction addresses are in it; it stands in one frame.
    assert (pause["pages"], pause["checked_pages"], pause["distinct_frames"]) == (1, 1, 1 if is_root() else None)


def test_the_guests_own_account_has_the_pages_that_programs_have_in_their_tables(up: Dcss, dcss: Dcss) -> None:
    """Others are present beside them, which the machine brought in, and those are no part of it."""
    accounts = [account["guest"] for account in up.json("measure")["guests"]]
    assert [account["xip_bytes"] for account in accounts] == [4096, 4096]  # pause is one page
    name = f"{dcss.system}-m"
    mapped = z(", run: [{map: /bin/hello}, {map: /bin/pause}, {exec: [pause], background: true}]")
    (account,) = dcss.json("run", config(dcss, mapped, name=name))["measure"]["guests"]
    assert account["guest"]["xip_bytes"] == 2 * 4096  # what is mapped and executed counts once


def test_guests_of_both_engines_share_one_segment(dcss: Dcss) -> None:
    name = f"{dcss.system}-b"
    mapped = f"name: P, count: 2, {GUEST}, run: [{{map: /bin/hello}}]"
    both = config(dcss, mapped, z(", count: 2, run: [{exec: [hello]}]"), name=name)
    result = dcss.json("run", both)
    assert result["verify"]["verdict"] == "verified"
    (hello,) = [file for file in result["verify"]["files"] if file["path"] == "/bin/hello"]
    assert hello["guests"] == ["P01", "P02", "Z01", "Z02"]
    assert {guest["engine"] for guest in result["measure"]["guests"]} == {"process", "s390x"}


def test_a_system_of_both_engines_goes_down_and_leaves_nothing(dcss: Dcss) -> None:
    name = f"{dcss.system}-d"
    step = "{exec: [loop], background: true}"
    dcss("up", config(dcss, f"name: P, {GUEST}", z(f", count: 2, run: [{step}]"), name=name), "-d")
    before = set(dcss.processes())
    (system,) = dcss.json("ps", name)["systems"]
    pids = {guest["pid"] for guest in system["guests"]}
    assert pids <= before
    dcss("down", name)
    assert not pids & set(dcss.processes())


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{exec: [fail]}", "run[0]: exec fail: exit status 3"),
        ("{exec: [nosuch]}", "exec nosuch: nosuch: no such program in "),
        ("{exec: [store]}", "exec store: exit status 139"),
    ],
)
def test_a_step_that_fails_fails_the_guest(dcss: Dcss, step: str, message: str) -> None:
    assert message in run(dcss, f"run: [{step}]", status=3)


def test_a_program_that_never_ends_ends_at_the_time_limit(dcss: Dcss) -> None:
    printed = run(dcss, "time_limit: 0.3, run: [{exec: [loop]}]", status=3)
    assert "exec loop: ended after the time limit of 0.3 s for the run list" in printed


def test_a_step_is_traced_in_the_log_and_its_output_stands_there_too(dcss: Dcss) -> None:
    run(dcss, "run: [{exec: [hello], strace: true}]", status=0)


def test_output_status_and_errors_are_the_programs(up: Dcss) -> None:
    assert up("exec", "Z01", "--", "hello").stdout == "hello\n"
    assert up("exec", "Z01", "--", "fail", status=3).stdout == "failing\n"
    assert up("exec", "Z01", "--", "/bin/store", status=128 + signal.SIGSEGV).stdout == ""
    assert "SIGSEGV" in up("logs", "Z01").stdout
    assert up("exec", "Z01", "--", "nosuch", status=127).stderr.startswith("nosuch: ")
    assert up("exec", "Z01", "--", "/bin", status=126).stderr.startswith("/bin: ")


def test_standard_input_goes_through_whole(up: Dcss, tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    (tmp_path / "content").write_bytes(content)
    with (tmp_path / "content").open("rb") as source, (tmp_path / "copy").open("wb") as target:
        up("exec", "-i", "Z01", "--", "cat", stdin=source, stdout=target)
    assert (tmp_path / "copy").read_bytes() == content
    assert up("exec", "Z01", "--", "cat").stdout == ""


def test_strace_shows_each_call_on_stderr(up: Dcss) -> None:
    done = up("exec", "--strace", "Z01", "--", "hello")
    assert done.stdout == "hello\n"
    lines = [line.partition("] ")[2] for line in done.stderr.splitlines()]
    assert lines[0] == 'write(1, "hello\\n", 6) = 6'
    assert lines[1].startswith("exit(0)")


def accounted_bytes(up: Dcss, name: str) -> int:
    """Return how much of segments a guest's programs have in their tables, by its own account."""
    (found,) = [guest for guest in up.json("measure")["guests"] if guest["name"] == name]
    return int(found["guest"]["xip_bytes"])


def test_a_program_deep_in_machine_code_ends_with_its_client_and_others_run_beside_it(up: Dcss) -> None:
    with up.start("exec", "Z01", "--", "loop") as looping:
        wait_until(lambda: accounted_bytes(up, "Z01") == 2 * 4096)  # it runs beside pause
        assert up("exec", "Z01", "--", "hello").stdout == "hello\n"
        looping.send_signal(signal.SIGINT)
        assert looping.wait(SECONDS) == 128 + signal.SIGINT
    assert up("exec", "Z01", "--", "hello").stdout == "hello\n"
    assert up.states() == {"Z01": "ready", "Z02": "ready"}


@pytest.fixture
def terminal(up: Dcss) -> Iterator[Terminal]:
    made = Terminal(up)
    yield made
    made.close()


def test_a_terminal_is_the_programs_and_what_it_was_afterwards(terminal: Terminal) -> None:
    child = terminal.start("exec", "-it", "Z01", "--", "cat")
    before = termios.tcgetattr(child.child_fd)
    child.send("helo\x7flo\r")
    child.expect_exact("\b \blo\r\nhello\r\n")
    assert is_raw(child)
    child.send("\x04")
    child.expect(pexpect.EOF)
    assert child.wait() == 0
    assert termios.tcgetattr(child.child_fd) == before


def test_ctrl_c_reaches_a_program_that_makes_no_system_call(terminal: Terminal) -> None:
    child = terminal.start("exec", "-it", "Z01", "--", "loop")
    while not is_raw(child):
        pass
    child.send("\x03")
    child.expect(pexpect.EOF)
    assert child.wait() == 128 + signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_client_that_is_ended_restores_its_terminal(terminal: Terminal, number: signal.Signals) -> None:
    child = terminal.start("exec", "-it", "Z01", "--", "cat")
    before = termios.tcgetattr(child.child_fd)
    child.send("x\r")
    child.expect_exact("x\r\nx\r\n")
    child.kill(number)
    child.expect(pexpect.EOF)
    assert child.wait() == 128 + number
    assert termios.tcgetattr(child.child_fd) == before


def test_without_a_terminal_there_is_none_to_give(up: Dcss) -> None:
    done = up("exec", "-it", "Z01", "--", "cat", status=2)
    assert "a standard input that is no terminal, wanted one" in done.stderr


def test_guests_of_engine_process_refuse_what_programs_have(dcss: Dcss) -> None:
    name = f"{dcss.system}-p"
    dcss("up", dcss.config(f"name: P, {GUEST}", segment=SEGMENT, name=name, path="p.yaml"), "-d")
    try:
        for options in (["-i"], ["--strace"], ["--env", "A=b"], ["--workdir", "/tmp"]):
            done = dcss("exec", *options, "P", "--system", name, "--", "ls", status=2)
            assert "guests of engines s390x and linux do" in done.stderr
    finally:
        dcss("down", name)


def test_nothing_of_the_machine_reaches_a_guests_process(up: Dcss) -> None:
    pid = up.pid_of("Z01")
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert "isolation: " in up("logs", "Z01").stdout
    files = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH115, PTH208
    assert not [file for file in files if file.startswith(("/home", "/tmp", "/root")) and "/run/" not in file]


def test_the_programs_are_what_qemu_runs(tmp_path: Path) -> None:
    qemu = "/usr/bin/qemu-s390x"
    if not Path(qemu).exists():
        pytest.skip("needs qemu-s390x")
    install(tmp_path)
    found = {
        name: subprocess.run([qemu, tmp_path / "bin" / name], input=b"input", capture_output=True, check=False)
        for name in PROGRAMS
        if name not in {"loop", "pause", "store"}
    }
    assert {name: (done.returncode, done.stdout) for name, done in found.items()} == {
        "hello": (0, b"hello\n"),
        "fail": (3, b"failing\n"),
        "cat": (0, b"input"),
    }
