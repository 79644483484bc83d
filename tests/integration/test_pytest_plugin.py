"""The pytest plugin, in runs of pytest of their own: mark, fixture, limits, the table at the end, and pytest-xdist."""

import json
import os

import pytest
from api_support import COPYING, plan
from cli_support import Dcss

from dcss.pytest_plugin import Limits
from dcss.results import Claim, GuestAccount, GuestCounters, HostCosts, MeasureResult, Totals, VerifyResult

TESTS = """
import pytest

SYSTEM = {system!r}


@pytest.mark.dcss(SYSTEM, {limits})
def test_shared(dcss_system):
    assert dcss_system.guests["G01"].exec(["ls", "/usr"]).stdout == "lib\\n"


@pytest.mark.dcss(SYSTEM)
def test_marked_alone():
    pass


def test_without():
    pass
"""


@pytest.fixture
def run(home: Dcss, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Give a directory for tests, with the user's tree; nothing is left after the test."""
    (pytester.path / "tree").symlink_to(home.home / "tree")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def tests(run: pytest.Pytester, home: Dcss, limits: str = "", *guests: dict[str, object]) -> None:
    run.makepyfile(TESTS.format(system=plan(home, *guests), limits=limits))


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_limits_that_are_kept_and_a_table(run: pytest.Pytester, home: Dcss, options: list[str]) -> None:
    tests(run, home, "max_private='64 MiB', max_copies=0, max_resident='2M', min_saved=1, verified=True")
    result = run.runpytest_subprocess("--strict-markers", *options)
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines(
        [
            r"=+ dcss: what systems cost =+",
            r"guests +private +most of one +resident +saved +verdict +test",
            r" +2 +[\d.]+ MiB +[\d.]+ .iB +1\.3 MiB +1\.0 MiB +verified +.*::test_marked_alone",
            r" +2 +[\d.]+ MiB +[\d.]+ .iB +1\.3 MiB +1\.0 MiB +verified +.*::test_shared",
        ]
    )
    home.assert_nothing_left(seconds=0)


@pytest.mark.slow
def test_a_limit_that_is_not_kept_fails_the_test(run: pytest.Pytester, home: Dcss) -> None:
    limits = "max_private=1, max_copies='4K', max_resident='64 KiB', min_saved='1 GiB', verified=True"
    tests(run, home, limits, {**COPYING, "count": 1, "expect": "shared"})
    result = run.runpytest_subprocess("-k", "test_shared")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        [
            "limits of the mark dcss:",
            "guest G01: private memory: found * MiB, wanted 1 B at most",
            "guest G01: copies of files: found 1.3 MiB, wanted 4.0 KiB at most",
            "segments: resident memory: found 1.3 MiB, wanted 64.0 KiB at most",
            "sharing saves: found -1.3 MiB, wanted 1.0 GiB at least",
            "verdict: found refuted, wanted verified",
            "  one-frame-per-page: nothing was mapped*",
            "*= dcss: what systems cost =*",
            "* refuted *::test_shared",
        ]
    )
    home.assert_nothing_left(seconds=0)


def test_what_could_not_be_seen_keeps_no_limit() -> None:
    unseen = GuestAccount("G", "process", (1,), 0, GuestCounters(0, None, None, None), HostCosts(0, None, None, None))
    account = MeasureResult("S", (unseen,), (), Totals(None, None, None))
    verdict = VerifyResult("S", "unproved", "mappings", (Claim("one", None, "why"),), ())
    limits = Limits.of({"max_private": "1T", "max_copies": "1T", "min_saved": 0, "verified": True})
    assert list(limits.findings(verdict, account)) == [
        "guest G: private memory: found n/a, wanted 1.0 TiB at most",
        "guest G: copies of files: found n/a, wanted 1.0 TiB at most",
        "sharing saves: found n/a, wanted 0 B at least",
        "verdict: found unproved, wanted verified",
        "  one: why",
    ]
    assert list(Limits.of({}).findings(verdict, account)) == []


@pytest.mark.slow
def test_a_test_that_fails_or_closes_its_system_says_so_itself(run: pytest.Pytester, home: Dcss) -> None:
    run.makepyfile(
        f"""
        import os
        import pytest

        pytestmark = pytest.mark.dcss({plan(home)!r})

        def test_fails(dcss_system):
            assert dcss_system.status().state == "down"

        def test_closes(dcss_system):
            dcss_system.close()

        @pytest.mark.dcss({plan(home)!r}, max_private="1 GiB")
        def test_closes_and_has_limits(dcss_system):
            dcss_system.close()

        def test_kills(dcss_system):
            os.kill(dcss_system.status().pid, 9)
        """
    )
    result = run.runpytest_subprocess()
    result.assert_outcomes(failed=2, passed=2, errors=1)
    result.stdout.fnmatch_lines(["E*assert 'up' == 'down'", "they could not be checked: *"])
    result.stdout.fnmatch_lines(["*ended by signal 9; what it left is gone"])
    result.stdout.fnmatch_lines(["* verified *::test_fails"])
    home.assert_nothing_left(seconds=0)


def test_paths_begin_at_the_tests_file_and_names_are_unique(run: pytest.Pytester, home: Dcss) -> None:
    inner = run.mkdir("inner")
    (inner / "tree").symlink_to(home.home / "tree")
    (inner / "x.yaml").write_text(json.dumps(plan(home)))
    (inner / "test_inner.py").write_text(
        "import pytest\n"
        "@pytest.mark.dcss('x.yaml')\n"
        "@pytest.mark.parametrize('number', [1, 2])\n"
        "def test_name(dcss_system, number):\n"
        "    print('NAME', dcss_system.name)\n"
    )
    result = run.runpytest_subprocess("-s", "--junitxml=report.xml")
    result.assert_outcomes(passed=2)
    names = {line.split("NAME ")[1] for line in result.outlines if "NAME " in line}
    assert len(names) == 2
    assert "most_private_bytes" in (run.path / "report.xml").read_text()
    assert not os.path.exists(home.environment["XDG_STATE_HOME"])  # noqa: PTH110


@pytest.mark.parametrize(
    ("mark", "line"),
    [
        ("dcss()", "*::test_it: mark dcss: found 0 arguments, wanted one*"),
        ("dcss('x.yaml', max_privat='1M')", "*::test_it: mark dcss: found max_privat=, wanted one of max_private*"),
        ("dcss('x.yaml', max_private='1 MB')", "*::test_it: mark dcss: max_private: found '1 MB', wanted a size*"),
        ("skipif(False, reason='none')", "*::test_it: dcss_system: found no mark, wanted @pytest.mark.dcss*"),
        ("dcss('missing.yaml')", "*ConfigError: *missing.yaml: found No such file or directory*"),
    ],
)
def test_a_wrong_mark_is_named(run: pytest.Pytester, mark: str, line: str) -> None:
    run.makepyfile(f"import pytest\n@pytest.mark.{mark}\ndef test_it(dcss_system):\n    pass\n")
    result = run.runpytest_subprocess()
    assert result.ret != 0
    (result.stderr if "wanted one" in line or "size" in line else result.stdout).fnmatch_lines([line])


def test_a_run_without_marks_imports_nothing_of_the_package(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import sys

        def test_imports():
            ours = sorted(name for name in sys.modules if name.startswith("dcss"))
            assert ours == ["dcss", "dcss.pytest_plugin"]
        """
    )
    result = run.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*dcss:*")
