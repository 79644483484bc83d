"""Clusters of Dask on this machine alone: stand-ins for hosts, and processes for the configurations of a sweep.

Nothing of them can be reached from another machine, and nothing stays of them.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from dcss.errors import ConfigError
from dcss.fleet.hosts import local_root
from dcss.fleet.scratch import scratch_directory
from dcss.host.paths import private_directory

_LOOPBACK: Final = "127.0.0.1"
# Dask serves pages about each scheduler and worker, if nobody says where, to every machine.
_PAGES: Final = f"{_LOOPBACK}:0"
_QUIET: Final = logging.CRITICAL
_BASE_CHARACTERS: Final = 12


def dask(option: str) -> Any:
    """Return Dask's `distributed`. Raises ConfigError, about `option`, where it is not installed."""
    if find_spec("distributed") is None:
        raise ConfigError(f"{option}: found no Dask, wanted the extra `fleet`: pip install 'dcss-emulator[fleet]'")
    return import_module("distributed")


def import_dask() -> None:
    """Import Dask before it is asked for: a quarter of a second, beside what else goes on. `dask` says if it fails."""
    with suppress(ImportError):
        import_module("distributed")


def start_stand_ins(names: Sequence[str], stack: ExitStack) -> tuple[str, dict[str, str]]:
    """Start a worker in this process for each name; return the scheduler's address, and by name its directory.

    `stack` ends them. The directory holds what a host keeps, for the next command. Raises ConfigError.
    """
    distributed = dask("stand-ins")
    _keep_nothing(stack)
    worker = {
        "cls": distributed.Worker,
        "options": {
            "nthreads": 1,
            "protocol": "inproc",
            "dashboard": False,
            "dashboard_address": _PAGES,
            "memory_limit": 0,  # it would wait where others use the machine's memory
        },
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"protocol": "inproc", "port": 0, "dashboard": False, "dashboard_address": _PAGES},
    }
    workers = dict.fromkeys(names, worker)
    cluster = distributed.SpecCluster(workers, scheduler, silence_logs=_QUIET)
    stack.callback(cluster.close)
    root = local_root()
    # Names of hosts may be addresses.
    bases = {name: root / sha256(name.encode()).hexdigest()[:_BASE_CHARACTERS] for name in names}
    return cluster.scheduler_address, {name: str(private_directory(base)) for name, base in bases.items()}


def start_processes(count: int, threads: int, stack: ExitStack) -> str:
    """Start so many workers, each a process; return the scheduler's address. `stack` ends them. Raises ConfigError."""
    distributed = dask("--workers")
    _keep_nothing(stack)
    cluster = distributed.LocalCluster(
        n_workers=count,
        threads_per_worker=threads,
        host=_LOOPBACK,
        dashboard_address=_PAGES,
        worker_dashboard_address=_PAGES,
        silence_logs=_QUIET,
    )
    stack.callback(cluster.close)
    address: str = cluster.scheduler_address
    return address


def _keep_nothing(stack: ExitStack) -> None:
    """Have Dask's schedulers, workers and clients put their files where `stack` removes them, and keep no messages.

    Within a process they would keep the last thousand, with the chunks of segments in them.
    """
    scratch = str(stack.enter_context(scratch_directory()))
    settings = {"temporary-directory": scratch, "distributed.admin.low-level-log-length": 0}
    stack.enter_context(import_module("dask.config").set(settings))
