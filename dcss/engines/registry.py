"""The engines that this version has, by the name that the YAML gives them."""

from collections.abc import Callable, Mapping

from dcss.engines.base import Engine
from dcss.engines.process.engine import ProcessEngine

ENGINES: Mapping[str, Callable[[], Engine]] = {ProcessEngine.name: ProcessEngine}
