"""The engines that this version has, by the name that the YAML gives them."""

from collections.abc import Callable, Mapping

from dcss.engines.base import Engine
from dcss.engines.process.engine import ProcessEngine
from dcss.engines.s390x.engine import S390xEngine


def _linux() -> Engine:
    from dcss.engines.linux.engine import LinuxEngine  # with what it takes to unpack kernels, for nobody else

    return LinuxEngine()


ENGINES: Mapping[str, Callable[[], Engine]] = {
    ProcessEngine.name: ProcessEngine,
    S390xEngine.name: S390xEngine,
    "linux": _linux,
}
