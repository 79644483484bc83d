"""`dcss up CONFIG`: start a system and leave it running."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.options import EXIT_FAILED, echo_error, json_option, own_command, print_json, print_page
from dcss.cli.systems import running_systems

if TYPE_CHECKING:
    from dcss.results import SystemStatus


@click.command("up")
@click.argument("config", type=click.Path(path_type=Path, readable=False))
@click.option("-d", "--detach", is_flag=True, help="Run in the background, and return when the system is up.")
@json_option
def command(config: Path, detach: bool, as_json: bool) -> int:
    """Start a system, run its workloads, and leave it running.

    \b
    dcss up demo.yaml -d    leave it running in the background
    dcss ps                 see its guests
    dcss down               take it down
    dcss up demo.yaml       keep it in the foreground; Ctrl-C takes it down

    With -d, the command returns when every guest has finished its `run:` list.

    Exit status: 0 every guest is ready; 2 CONFIG or the command line is wrong; 3 a guest failed (the system stays up),
    the system could not be started, or it ended before it was taken down.
    """
    from dcss.config.load import load_plan
    from dcss.report.failure_view import failed_guests
    from dcss.report.progress import progress_for

    plan = load_plan(config)
    from dcss.system.up import up_here, up_in_background

    began = time.monotonic()
    progress = progress_for(sys.stderr)
    for warning in plan.warnings:
        progress.warn(warning)
    is_up = False

    def up(status: "SystemStatus") -> None:
        nonlocal is_up
        progress.close()
        _show(status, time.monotonic() - began, as_json=as_json, detach=detach)
        is_up = True

    def echo(line: str) -> None:
        if is_up:
            echo_error(line)

    try:
        if detach:
            status = up_in_background(plan, progress)
            up(status)
        else:
            status = up_here(plan, progress, echo=echo, up=up)
    except KeyboardInterrupt:
        if detach and not is_up and plan.name in running_systems():
            progress.close()
            echo_error(f"dcss: interrupted, but {plan.name} is up: dcss down {plan.name} takes it down")
        raise
    finally:
        progress.close()
    return EXIT_FAILED if failed_guests(status) else 0


def _show(status: "SystemStatus", seconds: float, *, as_json: bool, detach: bool) -> None:
    if as_json:
        from dcss.documents import to_document

        print_json(to_document(status))
    else:
        from dcss.report.pages import up_page

        name, dcss = status.system, own_command()
        next_step = f"{dcss} ps {name} shows it, {dcss} down {name} takes it down" if detach else "Ctrl-C takes it down"
        print_page(up_page(status, seconds, next_step))
    sys.stdout.flush()
