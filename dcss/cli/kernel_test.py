"""`dcss kernel-test KERNEL...`: run checks of dcssblk and extmem in Linux kernels."""

import logging
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dcss.cli.options import csv_option, json_option, only_one, print_json, print_rows, write_whole
from dcss.errors import DcssError
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcss.kernel_test.checks import Check
    from dcss.kernel_test.results import CheckResult, KernelTestResult

Form = Literal["json", "csv", "tap", "table"]
_GOOD, _BAD, _FAILED = 0, 1, 3
_CANNOT_TEST, _BROKEN = 125, 128  # what `git bisect run` takes for skip, and for stop
_SHOWN_LINES = 25
_REPORT_LINES = 40  # an oops has registers and instructions before its call trace
_MARKS = {"ok": "✓", "failed": "✗", "hung": "✗", "lost": "✗", "skipped": "-"}


@click.command("kernel-test")
@click.argument("kernels", metavar="KERNEL...", nargs=-1)
@click.option(
    "--check", "checks", multiple=True, metavar="NAME", help="Run this check only; may be given several times."
)
@click.option("--list", "listing", is_flag=True, help="List the checks, and what should hold.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Run N machines at once: kernels, and parts of the checks.",
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML, too.")
@click.option("--tap", is_flag=True, help="Print TAP (as KTAP has it) instead of the table.")
@click.option("--bisect", is_flag=True, help="Exit as `git bisect run` wants it: 0, 1, 125 untestable, 128 broken.")
@json_option
@csv_option("checks")
def command(
    kernels: tuple[str, ...],
    checks: tuple[str, ...],
    *,
    listing: bool,
    jobs: int,
    junit: Path | None,
    tap: bool,
    bisect: bool,
    as_json: bool,
    csv_table: str | None,
) -> None:
    """Run checks of the dcssblk driver and its segments in s390x kernels.

    KERNEL is an image, the directory of a kernel's build, debian:SUITE, or debian:SUITE:PACKAGE.

    \b
    dcss kernel-test debian:bookworm debian:trixie
    dcss kernel-test ~/linux --check two-at-once
    dcss kernel-test debian:bookworm debian:trixie -j 4
    git bisect run dcss kernel-test . --bisect

    Exit status: 0 all checks hold; 1 some do not; 2 usage; 3 a kernel could not be tested. With --bisect, 125 for
    a kernel that cannot be tested, and 128 for whatever else goes wrong, such as a KERNEL that is not there.
    """
    only_one(json=as_json, csv=csv_table, tap=tap)
    if not kernels and not listing:
        raise click.UsageError("found no KERNEL, wanted one or more: a path, or debian:SUITE such as debian:trixie")
    form: Form = "json" if as_json else "csv" if csv_table else "tap" if tap else "table"
    if listing:
        raise SystemExit(_list(checks))
    try:
        result = _run(kernels, checks, jobs, junit, form)
    except (DcssError, OSError) as error:
        if not bisect:
            raise
        click.echo(f"dcss kernel-test: {error}", err=True)
        raise SystemExit(_BROKEN) from error
    except Exception as error:
        if not bisect:
            raise
        traceback.print_exception(error)
        raise SystemExit(_BROKEN) from error
    raise SystemExit(_status(result, bisect=bisect))


def _run(
    kernels: tuple[str, ...],
    names: tuple[str, ...],
    jobs: int,
    junit: Path | None,
    form: Form,
) -> "KernelTestResult":
    from dcss.kernel_test.bench import kernel_source
    from dcss.kernel_test.checks import chosen
    from dcss.kernel_test.results import CHECK_COLUMNS, check_rows, junit_xml, tap_lines

    checks = chosen(names)
    for kernel in kernels:
        kernel_source(kernel)
    if junit is not None:
        check_written_path("--junit", junit)
    logging.getLogger("dcss").setLevel(logging.ERROR)  # that no guest loads its segments is as it should be
    result = _test(tuple(dict.fromkeys(kernels)), checks, jobs)
    if junit is not None:
        write_whole(junit, junit_xml(result).encode())
    match form:
        case "json":
            print_json(result.to_document())
        case "csv":
            print_rows(check_rows(result), CHECK_COLUMNS)
        case "tap":
            for line in tap_lines(result):
                click.echo(line)
        case "table":
            _show(result)
    return result


def _list(names: tuple[str, ...]) -> int:
    from dcss.kernel_test.checks import chosen

    for check in chosen(names):
        click.echo(f"{check.name:20}  {check.title}")
    return _GOOD


def _test(kernels: tuple[str, ...], checks: "Sequence[Check]", jobs: int) -> "KernelTestResult":
    from dcss.kernel_test.bench import test_kernel
    from dcss.kernel_test.parallel import joined, parts_of, run_parts
    from dcss.kernel_test.results import KernelTestResult

    if jobs == 1:
        found = (test_kernel(kernel, checks, partial(_progress, kernel)) for kernel in kernels)
        return KernelTestResult(tuple(found))
    return joined(run_parts(parts_of(kernels, checks, jobs), jobs, _progress), kernels, checks)


def _progress(kernel: str, check: "CheckResult") -> None:
    if sys.stderr.isatty():
        click.echo(f"{kernel}: {check.check}: {check.outcome}, {check.seconds:.1f} s", err=True)


def _status(result: "KernelTestResult", *, bisect: bool) -> int:
    if any(kernel.untested for kernel in result.kernels):
        return _CANNOT_TEST if bisect else _FAILED
    return _BAD if any(kernel.bad for kernel in result.kernels) else _GOOD


def _shown(details: str, *, begin: bool = False) -> list[str]:
    """Return the lines of what tells of a failure that are shown, with … where some are left out.

    They are what is last, what the kernel's first report begins with, and with `begin` what is first.
    """
    from dcss.kernel_test.kernel_log import first_report

    lines = details.splitlines()
    report = first_report(details)
    parts = [(len(lines) - _SHOWN_LINES, _SHOWN_LINES)]
    if report is not None:
        parts.append((details[:report].count("\n"), _REPORT_LINES))
    if begin:
        parts.append((0, _SHOWN_LINES))
    shown = sorted(
        {number for first, count in parts for number in range(max(0, first), min(first + count, len(lines)))}
    )
    found: list[str] = []
    for number, before in zip(shown, [-1, *shown], strict=False):
        if number > before + 1:
            found.append("…")
        found.append(lines[number])
    return found


def _show(result: "KernelTestResult") -> None:
    """Print a table, a row for each check and a column for each kernel, and then what did not hold."""
    for number, kernel in enumerate(result.kernels, 1):
        click.echo(f"[{number}] {kernel.kernel}: {kernel.release or 'not tested'}")
        if kernel.untested:
            click.echo("\n".join(f"    {line}" for line in _shown(kernel.untested, begin=True)))
    names = list(dict.fromkeys(check.check for kernel in result.kernels for check in kernel.checks))
    if names:
        click.echo()
        width = max(len(name) for name in names)
        click.echo(f"{'':{width}}  {'  '.join(f'[{number}]' for number in range(1, len(result.kernels) + 1))}")
    found = [{check.check: check for check in kernel.checks} for kernel in result.kernels]
    for name in names:
        marks = [f" {_MARKS[each[name].outcome]} " if name in each else "   " for each in found]
        title = next(each[name].title for each in found if name in each)
        click.echo(f"{name:{width}}  {'  '.join(marks)}  {title}")
    for kernel in result.kernels:
        for check in kernel.bad:
            click.echo(f"\n{kernel.kernel}: {check.check} {check.outcome}: {check.message}")
            for line in check.reports:
                click.echo(f"the kernel says: {line}")
            click.echo("\n".join(f"    {line}" for line in _shown(check.details, begin=check.outcome == "hung")))
            click.echo(f"again: dcss kernel-test {kernel.kernel} --check {check.check}")
