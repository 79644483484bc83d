"""`dcss segment import` is killed at every step of its writing: the old or the new version is there whole."""

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Dcss, made_user

# The command line as a user has it, but for the fault point, which is told each step of a write to the spool.
VICTIM = textwrap.dedent(
    """
    import os, signal, sys
    from dcss.cli.main import main
    from dcss.cp.program import ControlProgram

    countdown, log = int(sys.argv[1]), open(sys.argv[2], "a")

    def fault(step):
        global countdown
        print(step, file=log, flush=True)
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        countdown -= 1

    ControlProgram.__init__.__kwdefaults__["fault"] = fault
    main(sys.argv[3:])
    """
)
STEPS = 12  # five of the content, five of the manifest, two that remove the older version
COMMITTED = "manifest renamed"


def run(dcss: Dcss, countdown: int, *arguments: str) -> tuple[int, list[str]]:
    """Run a command that is killed after `countdown` steps, and return its status and the steps."""
    log = dcss.home / f"steps{countdown}"
    command = [sys.executable, "-c", VICTIM, str(countdown), str(log), *arguments]
    done = subprocess.run(command, env=dcss.environment, cwd=dcss.home, capture_output=True, check=False, timeout=300)
    return done.returncode, log.read_text().splitlines()


def exported(dcss: Dcss, name: str, text: bytes) -> Path:
    plain = dcss.home / f"{name}.plain"
    plain.write_bytes(text * 1000)
    dcss("segment", "import", plain, "--name", "LIB", "--at", "512M", "--system", "other")
    dcss("segment", "export", "LIB", name, "--system", "other")
    return dcss.home / name


@pytest.fixture
def dcss() -> Iterator[Dcss]:
    """Give the user of the tests alone: nothing here depends on privileges."""
    with made_user() as user:
        yield user


@pytest.mark.slow
def test_killed_at_every_step(dcss: Dcss) -> None:
    old, new = exported(dcss, "old.img", b"old"), exported(dcss, "new.img", b"new")
    contents = {old.read_bytes(): "old", new.read_bytes(): "new"}
    spool, before = dcss.home / "state/dcss" / dcss.system, dcss.home / "before"
    dcss("segment", "import", old, "--system", dcss.system)
    spool.rename(before)
    for countdown in range(STEPS + 1):
        subprocess.run(["cp", "-a", before, spool], check=True)
        status, steps = run(dcss, countdown, "segment", "import", str(new), "--system", dcss.system)
        killed = countdown < STEPS
        assert (status, len(steps)) == ((-9, countdown + 1) if killed else (0, STEPS)), steps
        loaded = dcss("segment", "load", "LIB", "--system", dcss.system)
        assert loaded.stderr == ""  # nothing damaged was found
        (found,) = [contents[path.read_bytes()] for path in spool.glob("*.content")]
        assert found == ("new" if COMMITTED in steps else "old"), steps
        assert sorted(path.suffix for path in spool.iterdir()) == [".content", ".manifest"]
        assert dcss.left() == []
        shutil.rmtree(spool)
