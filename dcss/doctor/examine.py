"""All checks of doctor, in the order in which they are shown: what everything needs comes first."""

from collections.abc import Callable

from dcss.config.plan import EngineName
from dcss.doctor import kernel, resources, tools
from dcss.doctor.host import Diagnosis, DoctorHost
from dcss.doctor.huge_pages import huge_pages
from dcss.engines.registry import ENGINES

CHECKS: tuple[Callable[[DoctorHost], Diagnosis], ...] = (
    tools.python,
    kernel.page_size,
    resources.shared_memory,
    kernel.frames,
    kernel.yama,
    resources.descriptors,
    kernel.map_count,
    kernel.overcommit,
    huge_pages,
    kernel.ksm,
    tools.e2fsprogs,
    tools.apt,
)
_OF_ENGINES: dict[EngineName, tuple[Callable[[DoctorHost], Diagnosis], ...]] = {
    "s390x": (tools.unicorn_package,),
    "linux": (tools.qemu, tools.qmp_package, tools.kvm),
}


def examine(host: DoctorHost) -> list[Diagnosis]:
    """Return the diagnosis of each check; what an engine needs is of interest where this version has that engine."""
    of_engines = (check for name, checks in _OF_ENGINES.items() if name in ENGINES for check in checks)
    return [check(host) for check in (*CHECKS, *of_engines)]
