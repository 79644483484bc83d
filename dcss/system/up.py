"""`dcss up`: a system that stays up until it is taken down, here or in the background."""

import asyncio
import gc
import os
import traceback
from collections.abc import Callable
from contextlib import suppress

from dcss.config.plan import SystemPlan
from dcss.documents import from_document, to_document
from dcss.errors import DcssError
from dcss.host.aio import wait_readable
from dcss.host.prctl import set_name
from dcss.host.signals import run_interruptible
from dcss.progress import Progress
from dcss.results import SystemStatus
from dcss.system.daemon import start_in_background
from dcss.system.log import Echo
from dcss.system.startup import StartupNotifier
from dcss.system.status import system_status
from dcss.system.system import System

_PROCESS_NAME = "dcss:cp"


def up_here(plan: SystemPlan, progress: Progress, *, echo: Echo, up: Callable[[SystemStatus], None]) -> SystemStatus:
    """Keep a system up in this process; return its last status when a client has taken it down.

    `up` is called with the system's status once every guest has settled, `echo` with each line of the log.
    Raises ConfigError, ImageError, PublishError, SystemBusyError, LaunchError; an interrupt passes through.
    """

    async def serve() -> SystemStatus:
        set_name(_PROCESS_NAME)
        async with System(plan, progress, echo=echo) as system:
            await _bring_up(system)
            up(system_status(system))
            await system.serve()
            return system_status(system)

    return run_interruptible(serve())


def up_in_background(plan: SystemPlan, progress: Progress) -> SystemStatus:
    """Leave a system up in a process of its own, and return its status once every guest has settled.

    Raises what `up_here` does.
    """
    document = start_in_background(lambda caller: run_interruptible(serve_for(plan, caller)), progress)
    return from_document(SystemStatus, document)


async def serve_for(plan: SystemPlan, caller: StartupNotifier, owner_pid: int | None = None) -> None:
    """Be the CP of a system, report its startup to `caller`, and serve it until it is taken down.

    With `owner_pid`, it is also taken down when that process, the parent of this one, has ended.
    """
    set_name(_PROCESS_NAME)
    async with System(plan, caller) as system:
        for descriptor in (1, 2):  # where a fault of ours, or a library's, leaves its traceback
            os.dup2(system.log.descriptor, descriptor)
        if owner_pid is not None:
            system.tasks.start(_end_with(owner_pid, system), "watch of the owner")
        await _bring_up(system)
        caller.up(to_document(system_status(system)))
        try:
            await system.serve()
        except asyncio.CancelledError:
            system.log.note("taken down by a signal")
            raise
        except Exception as error:
            system.log.note(str(error) if isinstance(error, DcssError) else traceback.format_exc())
            system.cp.lock.keep = (system.log.path.name,)  # whoever misses the system finds out why
            raise


async def _end_with(owner_pid: int, system: System) -> None:
    """Take the system down when its owner has ended, however."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(owner_pid)
        try:
            if os.getppid() == owner_pid:  # else it has ended, and its number may be another's by now
                await wait_readable(pidfd)
        finally:
            os.close(pidfd)
    system.log.note(f"its owner, process {owner_pid}, has ended")
    system.take_down()


async def _bring_up(system: System) -> None:
    await system.publish()
    system.launch()
    await system.wait()
    exempt_from_collection()
    system.log.note(f"up with {len(system.plan.guests)} guests")


def exempt_from_collection() -> None:
    """Have the garbage collector pass over what is there now: with 1,000 guests it stops CP for 0.1 s each time.

    A proof makes it run every two seconds. What is freed by reference counts, as nearly all is, is freed as before.
    """
    gc.collect()
    gc.freeze()
