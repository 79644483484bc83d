"""What is imported only when it is needed: every start of a command or of CP would wait for it."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from dcss.cli.main import COMMANDS

IMPORTED = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
{statement}
print(json.dumps(sorted(sys.modules)))
"""
DEMO = Path(__file__).parents[2] / "configs/demo.yaml"
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
NUMBERS = {"numpy"}
# What commands call when something is wrong, or for a list on the screen; some import compressors, some a parser.
SELDOM = {"traceback", "shutil", "textwrap", "tempfile", "importlib.metadata", "email"}
ARCHIVES = {f"dcss.image.sources.{each}" for each in ("archive", "compression", "layout", "image_document", "ready")}


def modules_after(statement: str) -> set[str]:
    program = IMPORTED.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def modules_of_command(arguments: list[str]) -> set[str]:
    return modules_after(f"from dcss.cli import main\nwith redirect_stdout(StringIO()):\n    main._run({arguments})")


def found(unwanted: Iterable[str], imported: Iterable[str]) -> set[str]:
    """Return the modules that are unwanted or lie in an unwanted package."""
    packages = tuple(unwanted)
    return {name for name in imported if any(name == each or name.startswith(f"{each}.") for each in packages)}


def test_cp_starts_without_the_guest_kernel_proofs_and_screens() -> None:
    imported = modules_after("import dcss.system.system, dcss.system.up")
    assert "dcss.cp.program" in imported
    assert found(GUEST_KERNEL | PROOFS | SCREENS | MODELS | NUMBERS, imported) == set()


@pytest.mark.parametrize("command", ["ps", "exec", "logs", "guest", "down", "segment", "cp", "verify", "measure"])
def test_a_command_that_asks_a_running_cp_starts_without_what_a_cp_needs(command: str) -> None:
    imported = modules_after(
        f"import dcss.cli.main, dcss.cli.{command}, dcss.rpc.client, dcss.documents, dcss.results, dcss.cp.requests"
    )
    assert found(SERVERS | MODELS | GUEST_KERNEL | PROOFS | SCREENS, imported) == set()


def test_the_version_is_printed_without_anything_that_does_the_work() -> None:
    imported = modules_after(
        "from dcss.cli import main\nwith redirect_stdout(StringIO()):\n    main._run(['--version'])"
    )
    unwanted = MODELS | NUMBERS | SERVERS | SCREENS | SELDOM | {"rich", "dcss.config", "dcss.cp", "dcss.rpc"}
    assert found(unwanted, imported) == set()


def test_an_image_of_a_directory_is_built_without_what_other_sources_and_a_cp_need(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"content")
    command = ["image", "build", str(tmp_path / "tree"), "-o", str(tmp_path / "image")]
    imported = modules_of_command(command)
    assert (tmp_path / "image").is_file()
    unwanted = MODELS | NUMBERS | SERVERS | ARCHIVES | SELDOM | {"rich", "dcss.config.plan", "dcss.config.load"}
    assert found(unwanted, imported) == set()


def test_a_run_starts_its_system_without_proofs_and_models_of_the_yaml() -> None:
    imported = modules_after("import dcss.cli.main, dcss.cli.run, dcss.system.run")
    assert found(MODELS | NUMBERS | PROOFS | GUEST_KERNEL | SCREENS | {"rich", "email"}, imported) == set()


def test_a_run_starts_the_fork_server_before_it_imports_what_takes_as_long() -> None:
    imported = modules_after(
        "import dcss.cli.main, dcss.cli.run, dcss.config.document\n"
        "from dcss.engines.forked.server_process import servers_begun\n"
        "with servers_begun('demo', ['process']):\n    pass"
    )
    unwanted = {"pydantic", "asyncio", "dcss.system", "dcss.cp", "dcss.image"}
    assert found(unwanted | NUMBERS | PROOFS | GUEST_KERNEL | SCREENS, imported) == set()


def test_a_run_has_its_plan_made_without_importing_what_checks_it() -> None:
    imported = modules_after(
        f"""
from pathlib import Path
import dcss.cli.main, dcss.cli.run
from dcss.config.beside import PlanBeside
from dcss.config.document import read_document
path = Path({str(DEMO)!r})
with PlanBeside(read_document(path), path) as planning:
    assert planning.result().name == "demo"
"""
    )
    assert found({"pydantic"}, imported) == set()


def test_a_fleet_has_its_plan_made_without_importing_what_checks_it(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "segments: [{name: LIB, at: 0x20000000, image: {directory: tree}}]\nguests: [{name: G}]\nhosts: [{name: a}]\n"
    )
    (tmp_path / "tree").mkdir()
    imported = modules_after(
        f"""
from pathlib import Path
from dcss.config.beside import FleetPlanBeside
with FleetPlanBeside(Path({str(path)!r})) as planning:
    import dcss.fleet.operations, dcss.fleet.dask_hosts
    plan = planning.result()
from dcss.fleet.transfer import build_images
from dcss.progress import SilentProgress
images, _ = build_images(plan.segments, Path({str(tmp_path)!r}), SilentProgress())
assert list(images) == ["LIB"]
"""
    )
    assert found({"pydantic"}, imported) == set()


def test_a_run_imports_its_proofs_beside_what_it_waits_for() -> None:
    imported = modules_after(
        """
import asyncio
from types import SimpleNamespace
from dcss.system.proof import Prover
async def main():
    tasks = []
    start = lambda work, name: tasks.append(asyncio.ensure_future(work))
    Prover(SimpleNamespace(tasks=SimpleNamespace(start=start))).prepare()
    assert "dcss.verify.examine" not in sys.modules, "the loop itself imported it"
    await asyncio.gather(*tasks)
asyncio.run(main())
"""
    )
    assert {"dcss.verify.examine", "numpy"} <= imported


def test_help_imports_no_command() -> None:
    imported = modules_of_command(["--help"])
    assert (
        found({entry.module for entry in COMMANDS.values() if entry.module != "dcss.cli.completion"}, imported) == set()
    )


API = {"dcss.api", "dcss.aio", "dcss.results", "dcss.rpc"}


def test_import_dcss_imports_nothing_else() -> None:
    assert modules_after("import dcss") - modules_after("") == {"dcss"}


def test_guests_and_the_version_pay_nothing_for_the_api() -> None:
    servers = modules_after("import dcss.engines.process.forkserver, dcss.engines.s390x.forkserver")
    version = modules_after(
        "from dcss.cli import main\nwith redirect_stdout(StringIO()):\n    main._run(['--version'])"
    )
    assert found(API, servers | version) == set()


def test_a_program_that_starts_a_system_imports_neither_cp_nor_what_reads_the_yaml() -> None:
    imported = modules_after("import dcss\ndcss.System({}), dcss.GuestFailedError")
    unwanted = MODELS | NUMBERS | GUEST_KERNEL | PROOFS | SCREENS | {"dcss.config", "dcss.cp", "dcss.cli", "click"}
    assert found(unwanted, imported) == set()
    assert found({"dcss.system"}, imported) == {"dcss.system", "dcss.system.startup"}


def test_every_name_of_the_api_is_there() -> None:
    import dcss

    assert dcss.__all__[0] == "System"
    assert set(dcss.__all__) <= set(dir(dcss))
    for name in dcss.__all__:
        assert getattr(dcss, name) is getattr(dcss, name), name
    with pytest.raises(AttributeError, match="module 'dcss' has no attribute 'Sytem'"):
        dcss.Sytem  # type: ignore[attr-defined]  # noqa: B018


def test_the_process_of_a_plan_looks_for_no_plugins_of_pydantic() -> None:
    # It answers with what it has imported by then, in place of the plan.
    imported = modules_after(f"""
import os, pickle
from pathlib import Path
import dcss.config.beside, dcss.config.document
parent, pack = os.getpid(), pickle.dumps
pickle.dumps = lambda plan: pack(plan if os.getpid() == parent else (type(plan).__name__, sorted(sys.modules)))
path = Path({str(DEMO)!r})
with dcss.config.beside.PlanBeside(dcss.config.document.read_document(path), path) as planning:
    made, modules = planning.result()
assert made == "SystemPlan"
sys.modules = dict.fromkeys(modules)
""")
    assert "dcss.config.models" in imported
    assert found({"importlib.metadata", "email"}, imported) == set()
