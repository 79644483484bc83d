"""Every example of README.md and docs/ is run: here, by a test that is named, or not, for a reason that is named."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from cli_support import Dcss
from needs_support import needs
from page_example_support import BLOCKS, ROOT, assert_shown, block

MACHINES_OWN = "^(?!In huge pages:|checked by)"  # these depend on what else runs on this machine
HEADINGS = r"^ *[A-Z#][A-Z #+=]+$"
# Blocks whose commands are run by another test, which names their page.
ELSEWHERE = {
    "README.md: make demo      # sets up .venv, shares 100 MiB of this machine's own libraries between eight guests,"
    " and proves it": "tests/integration/test_first_steps.py",
    "README.md: .venv/bin/dcss init demo --as mine      # writes mine.yaml, to change as you like": (
        "tests/integration/test_first_steps.py"
    ),
    "docs/measurement.md: import json": "tests/integration/test_verify_evidence.py",
    "docs/statistics-area.md: #include <fcntl.h>": "tests/integration/test_statistics_area.py",
    "docs/fleet.md: distributed:": "tests/integration/test_fleet_security.py",
    "docs/sweep.md: sweep: modes": "tests/unit/dcss/config/test_load_sweep.py",
    "docs/updating.md: - name: MAINT": "tests/integration/test_segment_commands.py",
    **{each.key: "tests/integration/test_api_examples.py" for each in BLOCKS if each.page == "docs/api.md"},
    **{each.key: "tests/integration/test_api_examples.py" for each in BLOCKS if each.key == "README.md: import dcss"},
    "README.md: import pytest": "tests/integration/test_api_examples.py",
}
NOT_RUN = {
    "README.md: demo.yaml ──> CP ── publishes ──> /dev/shm/dcss.demo.LIB.1      one ext2 image, once in memory": (
        "a drawing"
    ),
    "docs/architecture.md: YAML ── dcss.config ──> plan (frozen, validated)": "a drawing",
    "docs/fleet.md: from dask_jobqueue import SLURMCluster": "needs Slurm; from the documentation of dask-jobqueue",
    "docs/fleet.md: apiVersion: kubernetes.dask.org/v1": "needs Kubernetes; from the documentation of dask-kubernetes",
    "docs/api.md: === dcss: what systems cost ===": "what the example above it prints; test_pytest_plugin.py has it",
    "docs/cp.md: OWNERID  FILE TYPE CL RECS DATE  TIME     FILENAME FILETYPE ORIGINID": (
        "forms of an answer, each with a file of another system; tests/unit/dcss/cp/test_commands.py compares them"
    ),
    "docs/inspect.md: $ dcss inspect 12918 12919 --file /tmp/demo/disk.img": (
        "two virtual machines with DAX: tests/integration/test_inspect_machines.py boots them"
    ),
    "docs/inspect.md: $ dcss inspect 12945 12946 --file /tmp/demo/disk.img": (
        "two virtual machines with virtio-blk: tests/integration/test_inspect_machines.py boots them"
    ),
    "docs/inspect.md: $ dcss inspect 12971 12973 12974 12975 12976 12977": (
        "nginx with its workers: tests/integration/test_inspect_servers.py starts it"
    ),
}


@pytest.fixture
def page_home(home: Dcss) -> Dcss:
    """A user's directory with a program dcss, and other programs that examples name, in PATH."""
    programs = home.home / "bin"
    programs.mkdir()
    (programs / "dcss").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dcss "$@"\n')
    for name in ("nginx", "psql"):
        (programs / name).write_text("#!/bin/sh\ncat /etc/passwd > /dev/null\n")
    for path in programs.iterdir():
        path.chmod(0o755)
    home.environment["PATH"] = f"{programs}:{home.environment['PATH']}"
    return home


def _shell(home: Dcss, command: str, *, statuses: tuple[int, ...] = (0,)) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", command], cwd=home.home, env=home.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in statuses, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout.splitlines()


@contextmanager
def _sleepers(home: Dcss) -> Iterator[dict[str, str]]:
    """Two processes with libraries in common, in the place of those that the page names."""
    words = [sys.executable, "-c", "import ssl, sys; print(flush=True); sys.stdin.read()"]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(words, stdin=pipe, stdout=pipe) as first,
        subprocess.Popen(words, stdin=pipe, stdout=pipe) as second,
    ):
        for process in (first, second):
            assert process.stdout
            process.stdout.readline()
        yield {"27875": str(first.pid), "27888": str(second.pid)}
        for process in (first, second):
            assert process.stdin
            process.stdin.close()


def _image(home: Dcss) -> None:
    home("image", "build", "tree", "-o", "lib.img")


def _demo(home: Dcss) -> None:
    """The demo, under a name that no other system has; its output is compared with that name."""
    text = (ROOT / "configs/demo.yaml").read_text("utf-8")
    (home.home / "configs").mkdir()
    (home.home / "configs/demo.yaml").write_text(text.replace("system: demo", f"system: {home.system}"))


def _fleet(home: Dcss) -> None:
    fleet = block("docs/fleet.md: system: web").text
    (home.home / "fleet.yaml").write_text(fleet.replace("/lib/*.so", "/usr/lib/*.so"))
    small = re.sub(r"^hosts:.*?(?=^segments:)", "", fleet, flags=re.MULTILINE | re.DOTALL)
    small = small.replace("system: web", f"system: {home.system}").replace("count: 800", "count: 2")
    (home.home / "small.yaml").write_text(small.replace("/lib/*.so", "/usr/lib/*.so"))
    (home.home / "run.json").write_text(home("run", "small.yaml", "--json", status=None).stdout)


# Consoles that are run: what must be there before, which lines must be as shown (all where this is empty), statuses.
CONSOLES: list[
    tuple[
        str,
        Callable[[Dcss], AbstractContextManager[dict[str, str]] | None],
        str,
        tuple[int, ...],
        list[pytest.MarkDecorator],
    ]
] = [
    ("README.md: $ dcss run configs/demo.yaml", _demo, MACHINES_OWN, (0,), [pytest.mark.slow, needs("frames")]),
    ('docs/cp.md: $ dcss cp "DEFSEG LIB 20000-23FFF SR"', lambda _: None, "", (0,), []),
    ("docs/planning.md: $ dcss export zvm lib.img --at 0x30000000 -o lib", _image, "", (0,), []),
    (
        "docs/planning.md: $ dcss advise --pid 27875 --pid 27888 --size 16M --guests 10,100,1000 -o shared.yaml",
        _sleepers,
        HEADINGS,
        (0,),
        [],
    ),
    ("docs/fleet.md: $ dcss fleet plan fleet.yaml --measured run.json", _fleet, HEADINGS, (0, 3), []),
]


@pytest.mark.parametrize(
    ("key", "prepare", "only", "statuses"), [pytest.param(*each[:4], marks=each[4], id=each[0]) for each in CONSOLES]
)
def test_a_console_shows_what_comes(
    page_home: Dcss,
    key: str,
    prepare: Callable[[Dcss], AbstractContextManager[dict[str, str]] | None],
    only: str,
    statuses: tuple[int, ...],
) -> None:
    prepared = prepare(page_home)
    with nullcontext({}) if prepared is None else prepared as places:
        for command, shown in block(key).steps():
            asked = re.sub("|".join(places) or "$^", lambda match: places[match[0]], command)
            printed = _shell(page_home, asked, statuses=statuses)
            text = "\n".join(printed).replace(f"dcss.{page_home.system}.", "dcss.demo.")
            assert_shown(shown, text.replace(f" {page_home.system}: ", " demo: ").splitlines(), only=only)
    page_home.assert_nothing_left()


QUESTIONS = block(
    'docs/planning.md: dcss advise --run "nginx -t" --run "psql --help"    what two commands touch, each'
    " traced to its end"
)


@pytest.mark.parametrize("line", QUESTIONS.text.splitlines())
def test_questions_to_advise_have_answers(page_home: Dcss, line: str) -> None:
    for name in ("root-a", "root-b"):
        (page_home.home / name).symlink_to("tree")
    subprocess.run(["tar", "cf", "web.tar", "-C", "tree", "."], cwd=page_home.home, check=True)
    subprocess.run(["cp", "web.tar", "database.tar"], cwd=page_home.home, check=True)
    page_home.guests(2)
    command = re.split(" {3,}", line)[0].replace("/srv/", "").replace("/usr/lib/python3", "tree")
    assert _shell(page_home, command)


# What stands before a YAML on a page, and in the place of parts of it.
_LIBRARIES = "segments: [{name: LIB, at: 0x20000000, image: {directory: tree}}]\n"
YAML: dict[str, tuple[str, dict[str, str]]] = {
    "docs/configuration.md: system: demo": ("", {}),
    "docs/configuration.md: segments:": ("", {"/srv/libraries": "tree", "2047M": "1M"}),
    "docs/fleet.md: system: web": ("", {}),
    "docs/programs.md: guests:": (_LIBRARIES, {}),
}


@pytest.mark.parametrize("key", YAML)
def test_a_yaml_is_accepted(page_home: Dcss, key: str) -> None:
    before, places = YAML[key]
    text = before + block(key).text
    for old, new in places.items():
        assert old in text
        text = text.replace(old, new)
    (page_home.home / "page.yaml").write_text(text)
    words = ("fleet", "plan") if "fleet" in key else ("config",)
    page_home(*words, "page.yaml", status=None if "fleet" in key else 0)


@needs("promtool")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(block("docs/metrics.md: scrape_configs:").text)
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)


def test_the_control_socket_answers_the_example(page_home: Dcss) -> None:
    page_home("up", page_home.guests(1), "-d")
    text = block("docs/control-protocol.md: import json, socket").text
    directory = f"{page_home.environment['XDG_RUNTIME_DIR']}/dcss/{page_home.system}"
    program = text.replace("/run/user/1000/dcss/demo", directory)
    assert program != text
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "up\n"
    page_home("down")


def _known() -> list[str]:
    return [
        *ELSEWHERE,
        *NOT_RUN,
        *(each[0] for each in CONSOLES),
        QUESTIONS.key,
        *YAML,
        "docs/metrics.md: scrape_configs:",
        "docs/control-protocol.md: import json, socket",
    ]


def test_every_example_is_run_or_has_a_reason() -> None:
    keys = {each.key for each in BLOCKS if not each.is_shape}
    assert sorted(keys - set(_known())) == [], "run them in this test, or say why not in NOT_RUN"
    assert sorted(set(_known()) - keys) == [], "no page has these any more"


@pytest.mark.parametrize(("key", "test"), ELSEWHERE.items())
def test_who_runs_an_example_names_its_page(key: str, test: str) -> None:
    page = key.partition(":")[0].removeprefix("docs/")
    assert page in (ROOT / test).read_text("utf-8")


def test_figures_may_differ_and_words_may_not() -> None:
    shown = ["A  1.5 MiB", "  …", "total   12 B"]
    assert_shown(shown, ["A   22 KiB", "B 3", "total 7 B"])
    for printed in (["A 1 B", "total"], ["B 1 B", "total 1 B"], ["A 1 B", "total 1 B", "more"]):
        with pytest.raises(AssertionError):
            assert_shown(shown, printed)
    assert_shown(["SIZE", "x 1", "FILE"], ["y", "SIZE", "z", "FILE"], only="^[A-Z]+$")
