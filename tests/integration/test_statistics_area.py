"""The statistics area of real systems: what CP writes, who reads it, and that reading costs CP nothing."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli_support import GUEST, MAP, SHARED_MEMORY, Dcss, made_user
from needs_support import needs, tool
from wait_support import kill, wait_at_rest

from dcss.abi import statistics as abi
from dcss.rpc.statistics import Statistics, StatisticsReader

PAGE = Path(__file__).parents[2] / "docs/statistics-area.md"
READERS = 5
LOOKS = 20


@pytest.fixture(scope="module")
def up() -> Iterator[Dcss]:
    with made_user() as dcss:
        dcss("up", dcss.guests(3), "-d")
        yield dcss
        dcss("down")
        dcss.assert_nothing_left()


def area(dcss: Dcss) -> Path:
    return SHARED_MEMORY / f"dcss.{dcss.system}.stats"


def look(dcss: Dcss) -> Statistics:
    with StatisticsReader(dcss.system, dcss.ps()["pid"]) as reader:
        return reader.read()


def answer_of_cp(dcss: Dcss) -> object:
    """Return what CP itself says of its system."""
    program = f"import json; from dcss.rpc.client import Client; print(json.dumps(Client({dcss.system!r}).ask('ps')))"
    command = [dcss._python, "-c", program]
    return json.loads(subprocess.run(command, env=dcss.environment, capture_output=True, check=True, text=True).stdout)


def without_private(document: dict[str, object]) -> dict[str, object]:
    guests = document["guests"]
    assert isinstance(guests, list)
    for guest in guests:
        del guest["private_bytes"]
    return document


def test_ps_shows_what_cp_would_answer() -> None:
    with made_user() as dcss:
        config = dcss.config(
            f"name: G, count: 2, {GUEST}, {MAP}",
            f"name: BAD, {GUEST}, run: [{{map: /nosuch}}]",
            f"name: LATER, {GUEST}, after: [BAD]",
            f"name: STOPPED, {GUEST}, {MAP}",
        )
        dcss("up", config, "-d", status=3)
        dcss("guest", "stop", "STOPPED")
        kill(dcss.pid_of("G02"))
        dcss.wait_for("G02", "killed")
        dcss("segment", "define", "NEW", "30000-300FF SR", "--system", dcss.system)
        dcss("exec", "G01", "--", "vmcp", "q nss", status=1)  # not for class G
        answer = answer_of_cp(dcss)
        assert without_private(dcss.ps()) == answer
        assert {guest["state"] for guest in dcss.ps()["guests"]} == {"ready", "killed", "failed", "stopped"}
        dcss("down")
        dcss.assert_nothing_left()


def test_hypercalls_are_counted_by_function_and_condition_code(up: Dcss) -> None:
    def calls() -> dict[str, tuple[int, ...]]:
        counted = look(up).guests[0].hypercalls
        return {name: counted[4 * index : 4 * index + 4] for index, name in enumerate(abi.FUNCTIONS)}

    before = calls()
    assert before["LOADSHRX"][0] == 1
    up("exec", "G01", "--", "vmcp", "q nss", status=1)  # not for class G
    after = calls()
    assert after["DIAG08"][0] == before["DIAG08"][0] + 1
    assert {name: counts for name, counts in after.items() if name != "DIAG08"} == {
        name: counts for name, counts in before.items() if name != "DIAG08"
    }


def test_a_proof_leaves_its_claims(up: Dcss) -> None:
    proofs = look(up).system.proofs
    claims = up.json("verify", up.system)["claims"]
    found = look(up)
    assert found.system.proofs == proofs + 1
    holds = {0: False, 1: True, 2: None}
    assert [(abi.text_of(claim.name), bool(claim.applies), holds[claim.holds]) for claim in found.claims] == [
        (claim["claim"], claim["applies"], claim["holds"]) for claim in claims
    ]


def test_measure_brings_the_guests_own_counts(up: Dcss) -> None:
    measured = up.json("measure", up.system)["guests"]
    for guest, account in zip(look(up).guests, measured, strict=True):
        assert guest.slot.flags & abi.COUNTED
        assert guest.slot.buffer_bytes == account["guest"]["buffer_bytes"]


@needs("gcc")
def test_the_program_of_the_documentation_reads_it(up: Dcss, tmp_path: Path) -> None:
    (source,) = re.findall(r"```c\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "guests.c").write_text(source)
    gcc = tool("gcc")
    assert gcc is not None
    words = [gcc, *["-Wall", "-Wextra", "-Werror", "-o", "guests", "guests.c", "-lrt"]]
    subprocess.run(words, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "guests", f"/{area(up).name}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{guest.name} {guest.state} {guest.pid} {sum(guest.hypercalls)}" for guest in look(up).guests
    ]


def test_the_documentation_has_every_field() -> None:
    text = PAGE.read_text()
    slots = (abi.SystemSlot, abi.GuestSlot, abi.SegmentSlot, abi.ClaimSlot)
    fields = {field for slot in slots for field in slot._fields if not field.startswith("helper_")}
    fields -= {"window_start", "window_end", "user_area_start", "user_area_end", "file_class"}
    assert not [field for field in fields if field not in text]
    assert all(name in text for name in abi.FUNCTIONS)


def switches(pid: int) -> int:
    """Return how often a process has been given a processor."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(map(int, re.findall(r"voluntary_ctxt_switches:\s+([0-9]+)", status)))


def work_of(pid: int, action: Callable[[], object]) -> int:
    """Return how often a process ran while `action` was done, which was at rest before."""
    wait_at_rest(pid)
    before = switches(pid)
    action()
    return switches(pid) - before


def read_together(dcss: Dcss, pid: int) -> None:
    """Have five readers look, several times each, and five `dcss ps`."""

    def read(_: int) -> None:
        with StatisticsReader(dcss.system, pid) as reader:
            for _ in range(LOOKS):
                reader.read()
        assert dcss("ps", dcss.system).stderr == ""

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, range(READERS)))


def test_readers_make_no_work_for_cp(up: Dcss) -> None:
    pid = up.ps()["pid"]
    up("verify", up.system, "--json")  # whatever is done once has been done
    assert work_of(pid, lambda: read_together(up, pid)) == 0
    assert work_of(pid, lambda: answer_of_cp(up)) > 0  # a question does, so that work is seen


@pytest.mark.slow
def test_five_readers_of_a_thousand_guests_make_no_work_for_cp() -> None:
    with made_user() as dcss:
        dcss("up", dcss.guests(1000), "-d", timeout_seconds=200)
        pid = dcss.ps()["pid"]
        assert work_of(pid, lambda: read_together(dcss, pid)) == 0
        assert len(look(dcss).guests) == 1000
        dcss("down")


def test_without_its_area_a_system_is_asked_with_a_warning() -> None:
    with made_user() as dcss:
        dcss("up", dcss.guests(1), "-d")
        pid = dcss.ps()["pid"]
        with area(dcss).open("r+b") as file:
            head = abi.AreaHead._make(abi.HEAD.unpack(file.read(abi.HEAD.size)))
            file.seek(head.guests_offset)
            file.write(abi.WORD.pack(1))  # as a CP leaves it that is killed in a write
        done = dcss("ps", dcss.system)
        assert "G01" in done.stdout
        assert f"dcss: warning: system {dcss.system}: its statistics area has a torn slot at byte" in done.stderr
        assert f"(process {pid}) was stopped or killed while it wrote; its CP was asked instead" in done.stderr
        area(dcss).unlink()
        done = dcss("ps", dcss.system)
        assert "G01" in done.stdout
        assert "found no statistics area in /dev/shm" in done.stderr
        assert without_private(dcss.ps()) == answer_of_cp(dcss)
        dcss("down")
        dcss.assert_nothing_left()


def test_what_a_killed_cp_left_goes_with_the_next_start(dcss: Dcss) -> None:
    dcss("up", dcss.guests(1), "-d")
    pid = dcss.ps()["pid"]
    kill(pid)
    assert area(dcss).exists()
    dcss("up", dcss.home / "system.yaml", "-d")
    assert dcss.ps()["pid"] != pid
    assert area(dcss).exists()
    dcss("down")
    dcss.assert_nothing_left()
