"""The pytest plugin: a system for a test, limits of what it may cost, and a table at the end of the run.

    @pytest.mark.dcss("demo.yaml", max_private="4 MiB", verified=True)
    def test_libraries_are_shared(dcss_system):
        assert "libc.so.6" in dcss_system.guests["LINUX01"].exec(["ls", "/usr/lib"]).stdout

docs/api.md describes it. pytest loads this module in every run, so it imports the rest when a test asks for a system.
"""

import itertools
import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from dcss.api.system import System
    from dcss.results import MeasureResult, Verdict, VerifyResult

_MARKER = "dcss"
_FIXTURE = "dcss_system"
_SIZES = ("max_private", "max_copies", "max_resident", "min_saved")
_KEYWORDS = (*_SIZES, "verified", "directory", "allow_failed_guests")
_HELP = (
    "dcss(config, max_private=SIZE, max_copies=SIZE, max_resident=SIZE, min_saved=SIZE, verified=False, directory=None,"
    " allow_failed_guests=False): start this system for the test, as the fixture dcss_system, and check limits after it"
)
_system_key = pytest.StashKey["System"]()
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a marker asks for; sizes in bytes, None where there is no limit."""

    max_private_bytes: int | None = None
    max_copies_bytes: int | None = None
    max_resident_bytes: int | None = None
    min_saved_bytes: int | None = None
    verified: bool = False

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """Read a marker's keywords. Raises ValueError for one that is unknown or wrong."""
        from dcss.config.problems import WrongValueError
        from dcss.config.size import parse_size

        sizes = {}
        for keyword, value in keywords.items():
            if keyword not in _KEYWORDS:
                raise ValueError(f"found {keyword}=, wanted one of {', '.join(_KEYWORDS)}")
            if keyword in _SIZES:
                try:
                    sizes[f"{keyword}_bytes"] = parse_size(value)
                except WrongValueError as error:
                    raise ValueError(f"{keyword}: found {value!r}, wanted {error.wanted}") from error
        return cls(**sizes, verified=bool(keywords.get("verified")))

    def findings(self, verdict: "VerifyResult", account: "MeasureResult") -> Iterator[str]:
        """Yield a line for each limit that is not kept; what could not be seen does not keep one."""
        for guest in account.guests:
            yield from _over(f"guest {guest.name}: private memory", guest.host.uss_bytes, self.max_private_bytes)
            own = (guest.guest.page_cache_bytes, guest.guest.buffer_bytes)
            copies_bytes = None if own[0] is None or own[1] is None else own[0] + own[1]
            yield from _over(f"guest {guest.name}: copies of files", copies_bytes, self.max_copies_bytes)
        resident_bytes = sum(segment.resident_bytes for segment in account.segments)
        yield from _over("segments: resident memory", resident_bytes, self.max_resident_bytes)
        saved_bytes = account.totals.saved_bytes
        if self.min_saved_bytes is not None and (saved_bytes is None or saved_bytes < self.min_saved_bytes):
            yield f"sharing saves: found {_size(saved_bytes)}, wanted {_size(self.min_saved_bytes)} at least"
        if self.verified and verdict.verdict != "verified":
            yield f"verdict: found {verdict.verdict}, wanted verified"
            yield from (f"  {claim.claim}: {claim.detail}" for claim in verdict.claims if claim.holds is not True)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one test's system cost; plain data, which pytest-xdist can send."""

    guests: int
    private_bytes: int | None
    most_private_bytes: int | None
    resident_bytes: int
    saved_bytes: int | None
    verdict: "Verdict"


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line("markers", _HELP)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each marked test its system, and refuse markers that say something else than a system and limits."""
    for item in items:
        marker = item.get_closest_marker(_MARKER)
        if marker is None:
            continue
        try:
            if len(marker.args) != 1:
                raise ValueError(f"found {len(marker.args)} arguments, wanted one: a YAML file, YAML text or a dict")
            Limits.of(marker.kwargs)
        except ValueError as error:
            raise pytest.UsageError(f"{item.nodeid}: mark dcss: {error}") from None
        names: list[str] = getattr(item, "fixturenames", [])
        if _FIXTURE not in names:
            names.append(_FIXTURE)


@pytest.fixture
def dcss_system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[System]":
    """Give the system of the test's mark `dcss`, up, and take it down after the test.

    Its name is no other's, whatever its YAML says, so that tests may run side by side. A relative path begins at the
    test's file; saved segments are in a directory of the test's own.
    """
    marker = request.node.get_closest_marker(_MARKER)
    if marker is None:
        wanted = "@pytest.mark.dcss('x.yaml')"
        raise pytest.UsageError(f"{request.node.nodeid}: dcss_system: found no mark, wanted {wanted}")
    from dcss.api.system import System, is_text

    config, directory = marker.args[0], Path(marker.kwargs.get("directory") or request.path.parent)
    if isinstance(config, str | os.PathLike) and not is_text(config):
        config = directory / config
    system = System(
        config,
        name=f"pytest-{os.getpid()}-{next(_numbers)}",
        directory=directory,
        allow_failed_guests=bool(marker.kwargs.get("allow_failed_guests")),
        environment={"XDG_STATE_HOME": str(tmp_path_factory.mktemp("dcss"))},
    )
    with system:
        request.node.stash[_system_key] = system
        yield system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Find out after the test what its system costs; a test that passed fails where a limit is not kept."""
    try:
        result = yield
    except BaseException:
        _examine(item)
        raise
    findings = _examine(item)
    if findings:
        pytest.fail("\n".join(["limits of the mark dcss:", *findings]), pytrace=False)
    return result


def _examine(item: pytest.Item) -> list[str]:
    """Add the cost to the test's report, and return which limits are not kept."""
    system, marker = item.stash.get(_system_key, None), item.get_closest_marker(_MARKER)
    if system is None or marker is None:
        return []
    limits = Limits.of(marker.kwargs)
    from dcss.errors import DcssError

    try:
        verdict, account = system.verify(), system.measure()
    except DcssError as error:  # the test has taken it down, or has killed its CP
        return [] if limits == Limits() else [f"they could not be checked: {error}"]
    private = [guest.host.uss_bytes for guest in account.guests]
    known = [size for size in private if size is not None]
    cost = Cost(
        guests=len(account.guests),
        private_bytes=sum(known) if len(known) == len(private) else None,
        most_private_bytes=max(known) if known and len(known) == len(private) else None,
        resident_bytes=sum(segment.resident_bytes for segment in account.segments),
        saved_bytes=account.totals.saved_bytes,
        verdict=verdict.verdict,
    )
    item.user_properties.append((_MARKER, {name: getattr(cost, name) for name in Cost.__slots__}))
    return list(limits.findings(verdict, account))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what each test's system cost, and its verdict."""
    costs: dict[str, Cost] = {}
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        for name, value in report.user_properties if isinstance(report, pytest.TestReport) else ():
            if name == _MARKER and isinstance(value, dict):
                costs[report.nodeid] = Cost(**value)
    if not costs:
        return
    heads = ("guests", "private", "most of one", "resident", "saved", "verdict", "test")
    rows = [heads, *(_cells(nodeid, cost) for nodeid, cost in sorted(costs.items()))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    terminalreporter.section("dcss: what systems cost")
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[:-2], widths, strict=False)]
        terminalreporter.write_line("  ".join([*cells, f"{row[-2]:{widths[-2]}}", row[-1]]))


def _cells(nodeid: str, cost: Cost) -> tuple[str, ...]:
    sizes = (cost.private_bytes, cost.most_private_bytes, cost.resident_bytes, cost.saved_bytes)
    return (str(cost.guests), *map(_size, sizes), cost.verdict, nodeid)


def _over(what: str, found_bytes: int | None, most_bytes: int | None) -> Iterator[str]:
    if most_bytes is not None and (found_bytes is None or found_bytes > most_bytes):
        yield f"{what}: found {_size(found_bytes)}, wanted {_size(most_bytes)} at most"


def _size(size_bytes: int | None) -> str:
    from dcss.report.units import UNKNOWN, fmt_bytes

    return UNKNOWN if size_bytes is None else fmt_bytes(size_bytes)
