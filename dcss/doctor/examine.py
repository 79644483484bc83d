"""All that doctor looks at, in the order in which it is told: what everything needs first."""

from collections.abc import Callable

from dcss.doctor import kernel, resources, tools
from dcss.doctor.machine import Finding, Machine

CHECKS: tuple[Callable[[Machine], Finding], ...] = (
    tools.python,
    kernel.page_size,
    resources.shared_memory,
    kernel.frames,
    kernel.yama,
    resources.descriptors,
    kernel.map_count,
    kernel.overcommit,
    kernel.huge_pages,
    kernel.ksm,
    tools.unicorn,
    tools.qemu,
    tools.e2fsprogs,
)


def examine(machine: Machine) -> list[Finding]:
    """Return one finding per check."""
    return [check(machine) for check in CHECKS]
