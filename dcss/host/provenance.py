"""Where and when a result is found: this machine, its kernel, and what runs on it."""

import os
import sys
from functools import cache

from dcss.host.text import utc_now
from dcss.results import Provenance
from dcss.version import VERSION


def provenance() -> Provenance:
    """Return the machine and the versions of this process, at the time of the call."""
    host, kernel, architecture, cpus, memory_bytes, page_bytes = _machine()
    python = ".".join(map(str, sys.version_info[:3]))
    return Provenance(utc_now(), host, kernel, architecture, cpus, memory_bytes, page_bytes, python, VERSION)


@cache
def _machine() -> tuple[str, str, str, int, int, int]:
    """Return what stays as it is while a process runs."""
    system = os.uname()
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * page_bytes
    cpus = len(os.sched_getaffinity(0))
    return system.nodename, f"{system.sysname} {system.release}", system.machine, cpus, memory_bytes, page_bytes
