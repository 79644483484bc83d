"""All checks of doctor, in the order in which they are shown: what everything needs comes first."""

from collections.abc import Callable

from dcss.doctor import kernel, resources, tools
from dcss.doctor.host import Diagnosis, DoctorHost

CHECKS: tuple[Callable[[DoctorHost], Diagnosis], ...] = (
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


def examine(host: DoctorHost) -> list[Diagnosis]:
    """Return the diagnosis of each check."""
    return [check(host) for check in CHECKS]
