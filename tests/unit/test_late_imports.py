"""What is imported only when it is needed: every start of a command or of CP would wait for it."""

import json
import subprocess
import sys
from collections.abc import Iterable

import pytest

from dcss.cli.main import COMMANDS

IMPORTED = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
{statement}
print(json.dumps(sorted(sys.modules)))
"""
MODELS = {"pydantic", "yaml"}
GUEST_KERNEL = {
    "vmguest.bootstrap",
    "vmguest.kernel",
    "vmguest.machine",
    "vmguest.fs",
    "vmguest.block",
    "vmguest.shell",
}
PROOFS = {"dcss.verify", "dcss.account.scan"}
SERVERS = {"asyncio", "ssl", "tempfile", "dcss.system", "dcss.engines"} | {
    f"dcss.cp.{each}" for each in ("program", "segments", "spool")
}
SCREENS = {"dcss.report", "wcwidth"}


def modules_after(statement: str) -> set[str]:
    program = IMPORTED.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def found(unwanted: Iterable[str], imported: Iterable[str]) -> set[str]:
    """Return the modules that are unwanted or lie in an unwanted package."""
    packages = tuple(unwanted)
    return {name for name in imported if any(name == each or name.startswith(f"{each}.") for each in packages)}


def test_cp_starts_without_the_guest_kernel_proofs_and_screens() -> None:
    imported = modules_after("import dcss.system.system, dcss.system.up")
    assert "dcss.cp.program" in imported
    assert found(GUEST_KERNEL | PROOFS | SCREENS | MODELS, imported) == set()


@pytest.mark.parametrize("command", ["ps", "exec", "logs", "guest", "down", "segment", "cp", "verify", "measure"])
def test_a_command_that_asks_a_running_cp_starts_without_what_a_cp_needs(command: str) -> None:
    imported = modules_after(
        f"import dcss.cli.main, dcss.cli.{command}, dcss.rpc.client, dcss.documents, dcss.results, dcss.cp.requests"
    )
    assert found(SERVERS | MODELS | GUEST_KERNEL | PROOFS | SCREENS, imported) == set()


def test_help_imports_no_command() -> None:
    imported = modules_after("from dcss.cli import main\nwith redirect_stdout(StringIO()):\n    main._run(['--help'])")
    assert (
        found({entry.module for entry in COMMANDS.values() if entry.module != "dcss.cli.completion"}, imported) == set()
    )
