"""`dcss kernel-test KERNEL...`: run checks of dcssblk and extmem in Linux kernels."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dcss.cli.options import check_written_path, csv_option, json_option, only_one, print_json, print_rows, write_whole
from dcss.errors import DcssError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcss.kernel_test.results import CheckResult, KernelTestResult

Form = Literal["json", "csv", "tap", "table"]
_GOOD, _BAD, _FAILED = 0, 1, 3
_CANNOT_TEST, _BROKEN = 125, 128  # what `git bisect run` takes for skip, and for stop
_MARKS = {"ok": "✓", "failed": "✗", "hung": "✗", "lost": "✗", "skipped": "-"}


@click.command("kernel-test")
@click.argument("kernels", metavar="KERNEL...", nargs=-1)
@click.option(
    "--check", "checks", multiple=True, metavar="NAME", help="Run this check only; may be given several times."
)
@click.option("--list", "listing", is_flag=True, help="List the checks, and what should hold.")
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
    git bisect run dcss kernel-test . --bisect

    Exit status: 0 all checks hold; 1 some do not; 2 usage; 3 a kernel could not be tested.
    """
    only_one(json=as_json, csv=csv_table, tap=tap)
    if not kernels and not listing:
        raise click.UsageError("found no KERNEL, wanted one or more: a path, or debian:SUITE such as debian:trixie")
    form: Form = "json" if as_json else "csv" if csv_table else "tap" if tap else "table"
    raise SystemExit(_run(kernels, checks, listing, junit, form, bisect=bisect))


def _run(
    kernels: tuple[str, ...],
    names: tuple[str, ...],
    listing: bool,
    junit: Path | None,
    form: Form,
    *,
    bisect: bool,
) -> int:
    from dcss.kernel_test.bench import kernel_source, test_kernel
    from dcss.kernel_test.checks import chosen
    from dcss.kernel_test.results import KernelTestResult, check_rows, junit_xml, tap_lines

    checks = chosen(names)
    if listing:
        for check in checks:
            click.echo(f"{check.name:20}  {check.title}")
        return _GOOD
    for kernel in kernels:
        kernel_source(kernel)
    if junit is not None:
        check_written_path("--junit", junit)
    logging.getLogger("dcss").setLevel(logging.ERROR)  # that no guest loads its segments is as it should be
    try:
        result = KernelTestResult(tuple(test_kernel(kernel, checks, _progress(kernel)) for kernel in kernels))
    except DcssError:
        if bisect:
            return _BROKEN
        raise
    if junit is not None:
        write_whole(junit, junit_xml(result).encode())
    match form:
        case "json":
            print_json(result.to_document())
        case "csv":
            print_rows(check_rows(result))
        case "tap":
            for line in tap_lines(result):
                click.echo(line)
        case "table":
            _show(result)
    return _status(result, bisect=bisect)


def _progress(kernel: str) -> "Callable[[CheckResult], None]":
    def show(check: "CheckResult") -> None:
        if sys.stderr.isatty():
            click.echo(f"{kernel}: {check.check}: {check.outcome}, {check.seconds:.1f} s", err=True)

    return show


def _status(result: "KernelTestResult", *, bisect: bool) -> int:
    if any(kernel.untested for kernel in result.kernels):
        return _CANNOT_TEST if bisect else _FAILED
    return _BAD if any(kernel.bad for kernel in result.kernels) else _GOOD


def _show(result: "KernelTestResult") -> None:
    """Print a table, a row for each check and a column for each kernel, and then what did not hold."""
    for number, kernel in enumerate(result.kernels, 1):
        click.echo(f"[{number}] {kernel.kernel}: {kernel.release or 'not tested'}")
        if kernel.untested:
            click.echo(f"    {kernel.untested}")
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
            click.echo("\n".join(f"    {line}" for line in check.details.splitlines()[-25:]))
            click.echo(f"again: dcss kernel-test {kernel.kernel} --check {check.check}")
