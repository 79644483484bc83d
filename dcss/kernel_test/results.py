"""What the checks found in each kernel, and the forms in which that is told: table, TAP, JUnit XML."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from dcss.documents import JsonObject, columns_of
from dcss.results import Result

Outcome = Literal["ok", "failed", "hung", "skipped", "lost"]
BAD: frozenset[Outcome] = frozenset({"failed", "hung", "lost"})


@dataclass(frozen=True, slots=True)
class CheckResult(Result):
    """How one check came out: `message` says what was found, `details` is what helps to find out why.

    `hung` is one that did not end within its limit, `lost` one during which the machine ended.
    """

    check: str
    title: str
    outcome: Outcome
    seconds: float
    message: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class KernelResult(Result):
    """What was found in one kernel; `untested` is why it could not be tested, if so."""

    kernel: str
    release: str
    checks: tuple[CheckResult, ...]
    untested: str = ""

    @property
    def bad(self) -> list[CheckResult]:
        """The checks that did not hold."""
        return [check for check in self.checks if check.outcome in BAD]


@dataclass(frozen=True, slots=True)
class KernelTestResult(Result):
    """The results of all kernels: the document of `dcss kernel-test --json`."""

    kernels: tuple[KernelResult, ...]


CHECK_COLUMNS = ("kernel", "release", *columns_of(CheckResult))


def check_rows(result: KernelTestResult) -> list[JsonObject]:
    """Return a row for each check in each kernel."""
    return [
        {"kernel": kernel.kernel, "release": kernel.release, **check.to_document()}
        for kernel in result.kernels
        for check in kernel.checks
    ]


def tap_lines(result: KernelTestResult) -> Iterator[str]:
    """Yield the result as TAP 14, a subtest for each kernel; the kernel's own KTAP is made of the same lines."""
    yield "TAP version 14"
    yield f"1..{len(result.kernels)}"
    for number, kernel in enumerate(result.kernels, 1):
        yield f"# Subtest: {kernel.kernel}"
        yield f"    1..{len(kernel.checks)}"
        for place, check in enumerate(kernel.checks, 1):
            yield from _tap_check(place, check)
        good = "not ok" if kernel.bad or kernel.untested else "ok"
        yield f"{good} {number} - {kernel.kernel}{f' # {kernel.untested}' if kernel.untested else ''}"


def _tap_check(place: int, check: CheckResult) -> Iterator[str]:
    if check.outcome == "skipped":
        yield f"    ok {place} - {check.check} # SKIP {check.message}"
        return
    yield f"    {'not ok' if check.outcome in BAD else 'ok'} {place} - {check.check}"
    if check.outcome in BAD:
        yield f"    # {check.outcome}: {check.message}"


def junit_xml(result: KernelTestResult) -> str:
    """Return the result as JUnit XML, a suite for each kernel."""
    suites = ElementTree.Element("testsuites")
    for kernel in result.kernels:
        skipped = sum(check.outcome == "skipped" for check in kernel.checks)
        counts = {"tests": len(kernel.checks), "failures": len(kernel.bad), "skipped": skipped}
        counts["errors"] = int(bool(kernel.untested))
        attributes = {"name": kernel.kernel} | {name: str(count) for name, count in counts.items()}
        suite = ElementTree.SubElement(suites, "testsuite", attributes)
        if kernel.untested:
            ElementTree.SubElement(
                ElementTree.SubElement(suite, "testcase", name="boot"), "error"
            ).text = kernel.untested
        for check in kernel.checks:
            case = ElementTree.SubElement(
                suite, "testcase", name=check.check, classname=kernel.kernel, time=f"{check.seconds:.3f}"
            )
            if check.outcome == "skipped":
                ElementTree.SubElement(case, "skipped", message=check.message)
            elif check.outcome in BAD:
                failure = ElementTree.SubElement(case, "failure", message=check.message, type=check.outcome)
                failure.text = _printable(check.details)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return "".join(char for char in text if char in "\n\t" or char >= " ")
