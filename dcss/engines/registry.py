"""The engines that this version has, by the name that the YAML gives them."""

from collections.abc import Callable, Mapping

from dcss.engines.base import Engine
from dcss.engines.process.engine import ProcessEngine
from dcss.engines.s390x.engine import S390xEngine

ENGINES: Mapping[str, Callable[[], Engine]] = {engine.name: engine for engine in (ProcessEngine, S390xEngine)}
