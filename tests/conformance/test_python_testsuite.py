"""Tests of Python's own that pass under qemu-s390x pass in a guest: posix, files, processes, signals, terminals."""

import re
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oracle390_support
import pytest
from cp_support import BlockingCp
from image_support import build
from needs_support import needs
from oracle390_support import Outcome, qemu_fails_because, tree_guest, under_qemu

from dcss.config.sources import DebianSource

PACKAGES = ("bash", "coreutils", "findutils", "python3", "libpython3.11-testsuite")
MODULES = (
    *("posix", "select", "poll", "mmap", "fcntl", "pty", "openpty", "grp", "pwd", "resource", "fileio", "file"),
    *("wait3", "wait4", "fork1", "pipes", "stat", "errno", "threadsignals", "selectors"),
)
# Tests that fail in a guest: docs/programs.md tells users of the same.
KNOWN: Mapping[str, str] = {
    "test_fcntl.TestFcntl.test_fcntl_64_bit": "there is no F_NOTIFY",
}
_BEGIN = re.compile(r"(?m)^\w+ \(test\.(test_[\w.]+)\)")
_RESULT = re.compile(r"(?m)(?:\.\.\. |^)(ok|FAIL|ERROR|skipped|expected failure)\b")


def passed(outcome: Outcome) -> set[str]:
    """Return the tests that passed, by what `unittest -v` printed."""
    parts = _BEGIN.split(outcome.output)
    results = zip(parts[1::2], map(_RESULT.search, parts[2::2]), strict=True)
    return {name for name, found in results if found is not None and found[1] == "ok"}


def run_modules(run: Callable[[str], Outcome]) -> set[str]:
    """Return the tests of all modules that passed."""
    command = "python3 -B -m unittest -v test.test_{} > log 2>&1; cat log; rm -rf *"
    return {name for module in MODULES for name in passed(run(command.format(module)))}


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.timeout(1800)
@needs("debian_archive", "debugfs", "qemu-s390x-static")
def test_what_passes_under_qemu_passes_in_a_guest(
    control_program: BlockingCp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(oracle390_support, "SECONDS", 300)
    monkeypatch.setattr(oracle390_support, "_MOST_SECONDS", 600)
    image, tree = tmp_path / "image", tmp_path / "tree"
    build(DebianSource(PACKAGES, suite="bookworm"), image)
    tree.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {tree}", str(image)], check=True, capture_output=True)
    if (reason := qemu_fails_because(tree)) is not None:
        pytest.skip(reason)
    with ThreadPoolExecutor(1) as pool, tree_guest(control_program, image) as guest:
        answer = pool.submit(run_modules, lambda command: under_qemu(tree, command))
        found = run_modules(guest.run)
        wanted = answer.result()
    with capsys.disabled():
        print(f"\n{len(MODULES)} modules: {len(wanted)} tests pass under qemu-s390x, {len(found)} in a guest")
    assert len(wanted) > 400
    assert wanted - found - KNOWN.keys() == set()
    assert not KNOWN.keys() & found, "what passes now is no longer known to fail"
