"""Wrong YAML files through the real command line: one line per problem on stderr, exit 2, nothing started."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wrong_config_support import WRONG_CONFIGS

SHARED_MEMORY = Path("/dev/shm")


def dcss(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "40"}  # errors are never wrapped
    return subprocess.run(
        [sys.executable, "-m", "dcss", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


# Each starts a process: a third of the files here, all of them in the unit tests.
@pytest.mark.parametrize("wrong", WRONG_CONFIGS[::3], ids=lambda wrong: wrong.name)
def test_each_problem_of_a_wrong_file_is_one_line(wrong: object, tmp_path: Path) -> None:
    assert isinstance(wrong, tuple)
    _, text, findings = wrong
    (tmp_path / "demo.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = dcss("run", "demo.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    lines = [f"demo.yaml:{finding}" for finding in findings]
    assert json.loads(done.stdout) == {"error": {"kind": "ConfigError", "lines": lines, "exit_status": 2}}
    assert done.stderr.splitlines() == lines


def test_nothing_is_started_for_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("system: cli-errors-test\nsegmnts: []\n")
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "dcss", "run", "demo.yaml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert not list(runtime.iterdir())
    assert not (tmp_path / "state").exists()
    assert not list(SHARED_MEMORY.glob("dcss.cli-errors-test.*"))


def test_a_pattern_without_a_match_is_exit_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(
        "system: cli-errors-test\n"
        "segments: [{name: LIB, at: 1G, image: {files: [/no/such/*.so]}}]\n"
        "guests: [{name: A}]\n"
    )
    done = dcss("run", "demo.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if "/no/such/*.so" in line]
    assert "wanted" in line
    assert not list(SHARED_MEMORY.glob("dcss.cli-errors-test.*"))
