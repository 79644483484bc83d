"""The entry of the command line: late imports, exit statuses, and lines on stderr."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.shell_completion import ShellComplete

from dcss.cli import main as entry
from dcss.cli import options
from dcss.cli.options import json_option, print_json
from dcss.errors import ConfigError, ImageError, LaunchError, PublishError
from dcss.host.interrupts import SignalledError, signals_interrupt

HEAVY = ("pydantic", "rich", "numpy", "yaml", "posix_ipc", "psutil", "dcss.config", "dcss.system", "dcss.report")


def python(code: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["rnu"], ["init", "--list"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import json, sys
from dcss.cli.main import main
try:
    main({arguments!r})
except SystemExit:
    print(json.dumps(sorted(sys.modules)))
"""
    loaded = set(json.loads(python(code).stdout.splitlines()[-1]))
    assert "click" in loaded
    assert not loaded & set(HEAVY)


def test_the_table_has_the_help_of_each_command() -> None:
    for name, listed in entry.COMMANDS.items():
        if importlib.util.find_spec(listed.module) is None:
            pytest.fail(f"{name}: no module {listed.module}")
        command = importlib.import_module(listed.module).command
        assert command.name == name
        assert (command.help or "").startswith(listed.help.removesuffix("."))


def run_main(*arguments: str) -> int:
    options._printed.clear()  # each is a process of its own elsewhere
    with pytest.raises(SystemExit) as ended:
        entry.main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A command ``fails`` that raises what the test puts into the module's `error`."""
    module = ModuleType("dcss_test_fails")

    module.document = None  # type: ignore[attr-defined]

    @click.command("fails")
    @click.argument("words", nargs=-1)
    @json_option
    def command(words: tuple[str, ...], as_json: bool) -> int:
        del words, as_json
        if module.document is not None:
            print_json(module.document)
        error = module.error
        if isinstance(error, BaseException):
            raise error
        return int(error)

    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dcss_test_fails", module)
    monkeypatch.setitem(entry.COMMANDS, "fails", entry.CommandEntry("dcss_test_fails", "Fail."))
    return module


@pytest.mark.parametrize(
    ("error", "status", "stderr"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (3, 3, ""),
        (
            ConfigError("a.yaml:1: x: found 1", "a.yaml:2: y: found 2"),
            2,
            "a.yaml:1: x: found 1\na.yaml:2: y: found 2\n",
        ),
        (ImageError("pattern /x: found nothing"), 2, "dcss: pattern /x: found nothing\n"),
        (PublishError("no room\nin /dev/shm"), 3, "dcss: no room in /dev/shm\n"),
        (LaunchError("guest A ended"), 3, "dcss: guest A ended\n"),
        (PermissionError(13, "Permission denied", "/x"), 3, "dcss: /x: Permission denied\n"),
        (click.FileError("/x", "gone"), 2, "dcss: Could not open file '/x': gone\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=str,
)
def test_each_ending_has_its_status_and_its_lines(
    fails: ModuleType, capfd: pytest.CaptureFixture[str], error: object, status: int, stderr: str
) -> None:
    fails.error = error  # type: ignore[attr-defined]
    assert run_main("fails") == status
    out, err = capfd.readouterr()
    assert (out, err) == ("", stderr)


def test_an_error_is_the_json_document_that_was_asked_for(fails: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    fails.error = ConfigError("a.yaml:1: x", "a.yaml:2: y")  # type: ignore[attr-defined]
    assert run_main("fails", "--json") == 2
    out, err = capfd.readouterr()
    document = {"error": {"kind": "ConfigError", "lines": ["a.yaml:1: x", "a.yaml:2: y"], "exit_status": 2}}
    assert json.loads(out) == document
    assert err == "a.yaml:1: x\na.yaml:2: y\n"
    fails.error = RuntimeError("never happens")  # type: ignore[attr-defined]
    assert run_main("fails", "--json") == 3
    assert json.loads(capfd.readouterr().out)["error"]["lines"] == ["never happens"]
    assert run_main("run", "--json") == 2  # without CONFIG
    assert json.loads(capfd.readouterr().out)["error"]["kind"] == "MissingParameter"


def test_an_error_after_the_document_and_a_json_of_another_program_add_nothing(
    fails: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    fails.document = {"done": 1}  # type: ignore[attr-defined]
    fails.error = LaunchError("it ended")  # type: ignore[attr-defined]
    assert run_main("fails", "--json") == 3
    assert json.loads(capfd.readouterr().out) == {"done": 1}
    fails.document = None  # type: ignore[attr-defined]
    assert run_main("fails", "--", "--json") == 3
    assert capfd.readouterr().out == ""


def test_an_error_cannot_move_a_terminal_s_cursor(
    fails: ModuleType, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "\x1b]0;title\a\u202e.so"
    fails.error = LaunchError(f"{name}: gone")  # type: ignore[attr-defined]
    run_main("fails")
    assert capfd.readouterr().err == f"dcss: {name}: gone\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run_main("fails")
    assert capfd.readouterr().err == r"dcss: \033]0;title\a\342\200\256.so: gone" + "\n"


def test_a_fault_of_ours_is_shown_whole(fails: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    fails.error = RuntimeError("never happens")  # type: ignore[attr-defined]
    assert run_main("fails") == 3
    err = capfd.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("RuntimeError: never happens\n")


def test_the_place_of_an_expected_error_is_shown_on_demand(
    fails: ModuleType, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCSS_TRACEBACK", "1")
    fails.error = LaunchError("guest A ended")  # type: ignore[attr-defined]
    assert run_main("fails") == 3
    assert "Traceback" in capfd.readouterr().err


def test_a_broken_pipe_inside_is_an_error_and_not_taken_for_the_terminals(
    fails: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    fails.error = BrokenPipeError(32, "Broken pipe")  # type: ignore[attr-defined]
    assert run_main("fails") == 3
    assert capfd.readouterr().err == "dcss: Broken pipe\n"


@pytest.mark.parametrize(
    ("arguments", "stderr"),
    [
        (["rnu"], "dcss: No such command 'rnu'. Did you mean 'run'? (see dcss --help)\n"),
        (["xyz"], "dcss: No such command 'xyz'. (see dcss --help)\n"),
        (["run"], "dcss run: Missing argument 'CONFIG'. (see dcss run --help)\n"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], stderr: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_main(*arguments) == 2
    assert capfd.readouterr() == ("", stderr)


def test_without_a_command_the_help_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_main() == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "Commands:" in err


def test_a_closed_pipe_ends_a_command_silently() -> None:
    """As `dcss schema | head -c 1` in a shell."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "dcss", "schema"], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_completion_is_offered() -> None:
    environment = {**os.environ, "_DCSS_COMPLETE": "bash_complete", "COMP_WORDS": "dcss doct", "COMP_CWORD": "1"}
    done = python("from dcss.cli.main import main; main()", env=environment)
    assert done.stdout == "plain,doctor\n"


@pytest.mark.parametrize(
    ("typed", "offered"), [("", ["one.json"]), ("o", ["one.json"]), ("sub/", ["sub/two [2].json"]), ("x", [])]
)
def test_results_are_offered_to_a_report(
    typed: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    (tmp_path / "sub").mkdir()
    for name in ("one.json", "one.html", "sub/two [2].json"):
        (tmp_path / name).touch()
    found = ShellComplete(entry.cli, {}, "dcss", "_DCSS_COMPLETE").get_completions(["report"], typed)
    assert [item.value for item in found] == offered


def test_a_file_name_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.yaml"
    done = subprocess.run([sys.executable, "-m", "dcss", "run", name], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(name + b": found No such file")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_interrupt_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with signals_interrupt():
        with pytest.raises(SignalledError) as caught:
            signal.raise_signal(number)
        assert caught.value.number == number
        signal.raise_signal(number)  # clean-up goes on
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is before


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_cleanup_that_hangs_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with signals_interrupt():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        now += 11
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
