"""What the checks found in each kernel, and the forms in which that is told: table, TAP, JUnit XML."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree

from dcss.documents import JsonObject, columns_of
from dcss.results import Result

Outcome = Literal["ok", "failed", "hung", "skipped", "lost"]
_UNPRINTABLE: Final = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
BAD: frozenset[Outcome] = frozenset({"failed", "hung", "lost"})


@dataclass(frozen=True, slots=True)
class CheckResult(Result):
    """How one check came out: `message` says what was found, `details` is what helps to find out why.

    `hung` is one that did not end within its limit, `lost` one during which the machine ended. `reports` is the first
    line of each oops, warning or finding of lockdep and KASAN that the kernel has logged meanwhile.
    """

    check: str
    title: str
    outcome: Outcome
    seconds: float
    message: str = ""
    details: str = ""
    reports: tuple[str, ...] = ()


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
    """Yield the result as KTAP, the kernel's form of TAP, with a subtest for each kernel that was tested.

    Source: Documentation/dev-tools/ktap.rst of Linux.
    """
    yield "KTAP version 1"
    yield f"1..{len(result.kernels)}"
    for number, kernel in enumerate(result.kernels, 1):
        name = _tap_words(kernel.kernel)
        if kernel.untested:
            yield from (f"# {line}" for line in kernel.untested.splitlines())
        else:
            yield "    KTAP version 1"
            yield f"    # Subtest: {name}"
            yield f"    1..{len(kernel.checks)}"
        for place, check in enumerate(kernel.checks, 1):
            yield from _tap_check(place, check)
        yield f"{'not ok' if kernel.bad or kernel.untested else 'ok'} {number} {name}"


def _tap_check(place: int, check: CheckResult) -> Iterator[str]:
    if check.outcome == "skipped":
        yield f"    ok {place} {check.check} # SKIP {_tap_words(check.message)}"
        return
    if check.outcome in BAD:
        yield f"    # {check.check} {check.outcome}: {_tap_words(check.message)}"
    yield from (f"    # {check.check}: the kernel says: {_tap_words(line)}" for line in check.reports)
    yield f"    {'not ok' if check.outcome in BAD else 'ok'} {place} {check.check}"


def _tap_words(text: str) -> str:
    """Return a text on one line, without the character that begins a directive."""
    return " ".join(text.replace("#", "_").split())


def junit_xml(result: KernelTestResult) -> str:
    """Return the result as JUnit XML, a suite for each kernel."""
    suites = ElementTree.Element("testsuites")
    for kernel in result.kernels:
        suite = ElementTree.SubElement(suites, "testsuite", _junit_counts(kernel))
        if kernel.untested:
            boot = ElementTree.SubElement(suite, "testcase", name="boot", classname=_printable(kernel.kernel))
            ElementTree.SubElement(boot, "error").text = _printable(kernel.untested)
        for check in kernel.checks:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                name=check.check,
                classname=_printable(kernel.kernel),
                time=f"{check.seconds:.3f}",
            )
            message = _printable(check.message)
            if check.outcome == "skipped":
                ElementTree.SubElement(case, "skipped", message=message)
            elif check.outcome in BAD:
                failure = ElementTree.SubElement(case, "failure", message=message, type=check.outcome)
                failure.text = _printable(check.details)
            if check.reports:
                ElementTree.SubElement(case, "system-err").text = _printable("\n".join(check.reports))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode") + "\n"


def _junit_counts(kernel: KernelResult) -> dict[str, str]:
    """Return a suite's attributes; a kernel that could not be tested is a test case of its own."""
    untested = int(bool(kernel.untested))
    counts = {
        "tests": len(kernel.checks) + untested,
        "failures": len(kernel.bad),
        "skipped": sum(check.outcome == "skipped" for check in kernel.checks),
        "errors": untested,
    }
    seconds = sum(check.seconds for check in kernel.checks)
    named = {"name": _printable(kernel.kernel), "time": f"{seconds:.3f}"}
    return named | {name: str(count) for name, count in counts.items()}


def _printable(text: str) -> str:
    """Return a text without what XML 1.0 cannot hold: most control characters, surrogates, and U+FFFE and U+FFFF."""
    return _UNPRINTABLE.sub("", text)
