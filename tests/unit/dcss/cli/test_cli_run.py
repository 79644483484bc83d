"""`dcss run` with a made-up result: what is printed where, and the exit status."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from results_support import made_up_run

from dcss.cli.main import main
from dcss.config.plan import SystemPlan
from dcss.progress import Progress
from dcss.results import GuestOutcome, RunResult

CONFIG = "segments: [{name: LIB, at: 1G, image: {files: [/x]}}]\nguests: [{name: A}]\n"
Runner = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Run ``dcss run`` on a small YAML with `result` in place of a real run."""
    path = tmp_path / "demo.yaml"
    path.write_text(CONFIG)
    monkeypatch.chdir(tmp_path)

    def runner(*arguments: str, result: RunResult | BaseException, seen: list[object] | None = None) -> int:
        def run_system(plan: SystemPlan, *, progress: Progress, evidence_path: Path | None = None) -> RunResult:
            progress.phase("build LIB", 1, "bytes")
            if seen is not None:
                seen.extend([plan, evidence_path])
            if isinstance(result, BaseException):
                raise result
            return result

        module = ModuleType("dcss.system.run")
        module.run_system = run_system  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "dcss.system.run", module)
        with pytest.raises(SystemExit) as ended:
            main(["run", str(path), *arguments])
        return int(ended.value.code or 0)

    return runner


def failed(result: RunResult) -> RunResult:
    return replace(result, guests=(GuestOutcome("LINUX01", 1, 0.1, "it broke"), *result.guests[1:]))


def refuted(result: RunResult) -> RunResult:
    return replace(result, verify=replace(result.verify, verdict="refuted"))


def test_a_verified_run_prints_the_page_and_ends_with_0(run: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[object] = []
    assert run(result=made_up_run(), seen=seen) == 0
    out, err = capfd.readouterr()
    assert out.startswith("VERIFIED  demo:")
    assert "build LIB, 0 B, 0.00 s" in err
    plan, evidence_path = seen
    assert isinstance(plan, SystemPlan)
    assert [guest.name for guest in plan.guests] == ["A"]
    assert evidence_path is None


def test_json_is_one_document_and_nothing_else(run: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--json", result=made_up_run()) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["verify"]["verdict"] == "verified"
    assert len(document["measure"]["guests"]) == len(document["guests"]) == 10


def test_unproved_is_1(run: Runner) -> None:
    result = made_up_run()
    assert run(result=replace(result, verify=replace(result.verify, verdict="unproved"))) == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_refuted_is_1_and_everything_is_printed(run: Runner, capfd: pytest.CaptureFixture[str], as_json: bool) -> None:
    assert run(*(["--json"] if as_json else []), result=refuted(made_up_run())) == 1
    out = capfd.readouterr().out
    assert "LINUX08" in out
    assert ("refuted" if as_json else "REFUTED") in out


def test_a_failed_guest_is_3_also_where_the_verdict_is_refuted(run: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(result=failed(refuted(made_up_run()))) == 3
    out = capfd.readouterr().out
    assert "FAILED    LINUX01: ended with status 1" in out
    assert "it broke" in out
    assert "BASE02" in out


def test_verbose_shows_files(run: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    run("-v", result=made_up_run())
    assert "/usr/lib/libz.so.1.2.13" in capfd.readouterr().out


def test_a_pipe_gets_no_colour_and_no_cut_line(run: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    run(result=made_up_run())
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) > 120


def test_ctrl_c_is_130_and_prints_nothing_on_stdout(run: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(result=KeyboardInterrupt()) == 130
    assert capfd.readouterr().out == ""


def test_evidence_goes_to_the_launcher(run: Runner, tmp_path: Path) -> None:
    seen: list[object] = []
    assert run("--evidence", str(tmp_path / "e.json"), result=made_up_run(), seen=seen) == 0
    assert seen[1] == tmp_path / "e.json"


@pytest.mark.parametrize(
    ("evidence", "stderr"),
    [
        ("no/such/e.json", "--evidence: found no directory no/such, wanted one to write e.json into\n"),
        (".", "--evidence: found a directory at ., wanted a file to write\n"),
        ("e" * 300, f"--evidence: found File name too long at {'e' * 300}, wanted a file to write\n"),
    ],
)
def test_evidence_that_cannot_be_written_starts_nothing(
    run: Runner, capfd: pytest.CaptureFixture[str], evidence: str, stderr: str
) -> None:
    seen: list[object] = []
    assert run("--evidence", evidence, result=made_up_run(), seen=seen) == 2
    assert capfd.readouterr() == ("", stderr)
    assert seen == []


def test_evidence_that_may_not_be_written_starts_nothing(
    run: Runner, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert run("--evidence", "e.json", result=made_up_run()) == 2
    assert capfd.readouterr().err == "--evidence: found e.json not writable, wanted a file to write\n"
