"""The bench of kernel tests without a kernel: its checks, and the forms of its results."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from dcss.api.guest import ExecResult, Guest
from dcss.cli import kernel_test as cli
from dcss.config.sources import DebianKernel, KernelFile
from dcss.errors import ConfigError, GuestFailedError, LaunchError
from dcss.kernel_test import bench
from dcss.kernel_test.bench import kernel_source
from dcss.kernel_test.checks import DEFAULT_LIMIT_SECONDS, all_checks, check_of, chosen, prelude
from dcss.kernel_test.results import CheckResult, KernelResult, KernelTestResult, junit_xml, tap_lines

RESULT = KernelTestResult(
    (
        KernelResult(
            "one",
            "6.1",
            (
                CheckResult("add", "is added", "ok", 1.0),
                CheckResult("busy", "is busy", "failed", 2.0, "found 'x', wanted 'y'", "console\x01 <of it>"),
                CheckResult("dax", "has dax", "skipped", 0.5, "no dax"),
                CheckResult("race", "is right", "hung", 30.0, "it did not end within 30 s"),
            ),
        ),
        KernelResult("two", "", (), "no such package"),
    )
)


def test_each_check_says_what_should_hold_and_is_a_script() -> None:
    checks = all_checks()
    assert len(checks) >= 20
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert check.title
        assert check.title != check.script
        parsed = subprocess.run(["sh", "-n"], input=f"{prelude()}\n{check.script}", text=True, check=False)
        assert parsed.returncode == 0, check.name


def test_a_check_has_the_limit_that_it_asks_for() -> None:
    assert check_of("x", "# A title\ntrue\n").limit_seconds == DEFAULT_LIMIT_SECONDS
    assert check_of("x", "# A title\n# limit: 120\ntrue\n").limit_seconds == 120


def test_checks_are_chosen_by_name() -> None:
    assert [check.name for check in chosen(("save", "add"))] == ["add", "save"]
    with pytest.raises(ConfigError, match=r"--check: found 'ad', wanted one of .*did you mean"):
        chosen(("ad",))


@pytest.mark.parametrize(
    ("script", "status", "message"),
    [
        ("want size 4 4", 0, ""),
        ("want size 4 5", 1, "size: found '5', wanted '4'"),
        ("works true", 0, ""),
        ("works cat /nosuch", 1, "cat /nosuch: found 'No such file or directory', wanted success"),
        ("fails 'No such file or directory' cat /nosuch", 0, ""),
        ("fails 'Device or resource busy' true", 1, "true: found success, wanted 'Device or resource busy'"),
        ("skip 'no such thing'", 77, "no such thing"),
    ],
)
def test_what_checks_say_of_what_they_find(script: str, status: int, message: str, tmp_path: Path) -> None:
    text = prelude().replace("mkdir -p /mnt", "").replace("dmesg", "printf ''")
    done = subprocess.run(["sh"], input=f"{text}\n{script}", text=True, capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout.strip()) == (status, message)


def test_kernels_are_paths_or_suites(tmp_path: Path) -> None:
    assert kernel_source("debian:trixie") == DebianKernel("trixie", None)
    assert kernel_source("debian:sid:linux-image-7.2-s390x") == DebianKernel("sid", "linux-image-7.2-s390x")
    assert kernel_source(str(tmp_path)) == KernelFile(tmp_path)
    with pytest.raises(ConfigError, match="KERNEL: found no /nosuch, wanted a file, a directory of a build"):
        kernel_source("/nosuch")
    with pytest.raises(ConfigError, match="wanted debian:SUITE"):
        kernel_source("debian:")


def test_tap_has_a_subtest_for_each_kernel() -> None:
    assert list(tap_lines(RESULT)) == [
        "KTAP version 1",
        "1..2",
        "    KTAP version 1",
        "    # Subtest: one",
        "    1..4",
        "    ok 1 add",
        "    # busy failed: found 'x', wanted 'y'",
        "    not ok 2 busy",
        "    ok 3 dax # SKIP no dax",
        "    # race hung: it did not end within 30 s",
        "    not ok 4 race",
        "not ok 1 one",
        "# no such package",
        "not ok 2 two",
    ]


def test_no_word_of_a_kernel_or_message_is_taken_for_tap() -> None:
    check = CheckResult("add", "is added", "failed", 1.0, "#1 failed\nok 2 no")
    result = KernelTestResult((KernelResult("a # b", "", (check,)), KernelResult("c", "", (), "no\nok 3 package")))
    assert list(tap_lines(result))[5:] == [
        "    # add failed: _1 failed ok 2 no",
        "    not ok 1 add",
        "not ok 1 a _ b",
        "# no",
        "# ok 3 package",
        "not ok 2 c",
    ]


def test_junit_holds_what_xml_cannot() -> None:
    check = CheckResult("add", "is added", "failed", 1.0, "\x1b[1mno\ud800", "\uffff")
    skipped = CheckResult("dax", "has dax", "skipped", 1.0, "\x00")
    text = junit_xml(KernelTestResult((KernelResult("a", "", (check, skipped)), KernelResult("b", "", (), "\x07"))))
    failure = ElementTree.fromstring(text.encode()).find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "[1mno"


def test_junit_has_a_suite_for_each_kernel() -> None:
    suites = ElementTree.fromstring(junit_xml(RESULT))
    one, two = suites
    assert one.attrib == {"name": "one", "tests": "4", "failures": "2", "skipped": "1", "errors": "0", "time": "33.500"}
    failure = one.find("testcase[@name='busy']/failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("found 'x', wanted 'y'", "console <of it>")
    assert (two.get("errors"), two.get("tests"), len(two)) == ("1", "1", 1)


@pytest.mark.parametrize(
    ("result", "words", "status"),
    [
        (RESULT.kernels[0], (), 1),
        (RESULT.kernels[0], ("--bisect",), 1),
        (RESULT.kernels[1], (), 3),
        (RESULT.kernels[1], ("--bisect",), 125),
        (KernelResult("good", "7.2", RESULT.kernels[0].checks[:1]), ("--bisect",), 0),
        (KernelResult("good", "7.2", RESULT.kernels[0].checks[:1]), ("--tap",), 0),
    ],
)
def test_the_exit_status_says_how_it_came_out(
    result: KernelResult, words: tuple[str, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "test_kernel", lambda *_: result)
    done = CliRunner().invoke(cli.command, ["debian:sid", *words])
    assert done.exit_code == status, done.output
    assert result.kernel in done.output


class FakeGuest:
    """A machine whose kernel has what a check leaves: nothing, taint of an oops, or its end."""

    def __init__(self) -> None:
        self.left, self.starts = "ok", 1
        self.logged = "a boot of long ago\n"
        self.ran: list[tuple[str, int]] = []  # checks, and in which start

    def exec(self, words: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        del timeout_seconds
        if self.left == "ended":
            raise GuestFailedError("it does not answer")
        if words[0] == "cat":
            return ExecResult("TEST", 0, "128\n" if self.left == "oops" else "0\n", "")
        self.left = next(word for word in ("oops", "ended", "ok") if f"leave {word}" in words[2])
        self.logged += {"oops": "[ 1.0] Oops: 0010 ilc:3 [#1] SMP\n", "ended": "Kernel panic - no\n"}.get(self.left, "")
        self.ran.append((self.left, self.starts))
        return ExecResult("TEST", int(self.left == "oops"), "", "")

    def status(self) -> SimpleNamespace:
        ended = self.left == "ended"
        reason = "its kernel panicked: no init" if ended else None
        return SimpleNamespace(state="stopped" if ended else "ready", reason=reason, pid=None)

    def stop(self) -> None:
        self.left = "ended"

    def restart(self) -> SimpleNamespace:
        self.left, self.starts = "ok", self.starts + 1
        return self.status()

    def log(self) -> str:
        return self.logged


def test_no_check_runs_in_a_kernel_that_an_earlier_one_has_tainted() -> None:
    guest = FakeGuest()
    checks = [check_of(name, f"# A title\nleave {name}\n") for name in ("ok", "oops", "ok", "ended", "ok", "ok")]
    found = list(bench._results(cast("Guest", guest), checks))
    assert [result.outcome for result in found] == ["ok", "failed", "ok", "lost", "ok", "ok"]
    oops, panic = "Oops: 0010 ilc:3 [#1] SMP", "Kernel panic - no"
    assert [result.reports for result in found] == [(), (oops,), (), (panic,), (), ()]
    assert [result.details for result in found] == ["", f"[ 1.0] {oops}\n", "", f"{panic}\n", "", ""]
    assert guest.ran == [("ok", 1), ("oops", 1), ("ok", 2), ("ended", 2), ("ok", 3), ("ok", 3)]


def test_a_machine_that_does_not_come_up_tells_why_and_shows_its_console() -> None:
    guest = FakeGuest()
    bench._check_up(cast("Guest", guest))
    guest.stop()
    with pytest.raises(LaunchError, match=r"^stopped: its kernel panicked: no init\na boot of long ago$"):
        bench._check_up(cast("Guest", guest))


@pytest.mark.parametrize("words", [["/no/such/kernel"], ["debian:sid", "--check", "no-such"]])
def test_bisect_stops_where_the_bench_cannot_run(words: list[str]) -> None:
    done = CliRunner().invoke(cli.command, [*words, "--bisect"])
    assert done.exit_code == 128, "git bisect run takes 1 to 127 for a bad commit"
    assert "wanted" in done.output


@pytest.mark.parametrize("error", [LaunchError("no qemu"), ValueError("a fault of the bench"), OSError("no space")])
def test_bisect_stops_and_says_why_where_the_bench_breaks(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> KernelResult:
        raise error

    monkeypatch.setattr(bench, "test_kernel", broken)
    done = CliRunner().invoke(cli.command, ["debian:sid", "--bisect"])
    assert done.exit_code == 128
    assert str(error) in done.output


def test_a_failing_row_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "test_kernel", lambda *_: RESULT.kernels[0])
    told = CliRunner().invoke(cli.command, ["debian:sid"]).output
    assert "one: busy failed: found 'x', wanted 'y'" in told
    assert "again: dcss kernel-test one --check busy" in told


def test_a_row_that_hangs_shows_stacks_and_the_end_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    details = "\n".join(["dcssblk_add_store", *(f"line {number}" for number in range(100)), "the end"])
    hung = KernelResult("one", "", (CheckResult("add", "is added", "hung", 30.0, "late", details),))
    monkeypatch.setattr(bench, "test_kernel", lambda *_: hung)
    told = CliRunner().invoke(cli.command, ["debian:sid"]).output
    assert "dcssblk_add_store" in told
    assert "the end" in told
    assert "line 50\n" not in told


def test_a_row_shows_what_the_kernel_reports_from_its_first_line_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "BUG: KASAN: use-after-free in dcssblk_add_store"
    log = [*(f"before {number}" for number in range(50)), f"[    1.500000] {said}", "Read of size 8"]
    details = "\n".join([*log, *(f"line {number}" for number in range(100)), "the end"])
    row = CheckResult("add", "is added", "failed", 3.0, "late", details, (said,))
    result = KernelTestResult((KernelResult("one", "", (row,)),))
    monkeypatch.setattr(bench, "test_kernel", lambda *_: result.kernels[0])
    told = CliRunner().invoke(cli.command, ["debian:sid"]).output
    assert f"the kernel says: {said}\n    …\n    [    1.500000] {said}\n    Read of size 8\n    line 0\n" in told
    assert "line 37\n    …\n    line 76\n" in told
    assert told.index("the end") < told.index("again: ")
    assert result.to_document()["kernels"][0]["checks"][0]["reports"] == [said]
    assert f"    # add: the kernel says: {said}" in tap_lines(result)
    suites = ElementTree.fromstring(junit_xml(result))
    assert suites.findtext("testsuite/testcase/system-err") == said


def test_checks_are_listed_without_a_kernel() -> None:
    listed = CliRunner().invoke(cli.command, ["--list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [check.name for check in all_checks()]
    without = CliRunner().invoke(cli.command, [])
    assert without.exit_code == 2
    assert "found no KERNEL" in without.output
