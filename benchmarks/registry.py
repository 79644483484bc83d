"""All benchmarks by name, in the order in which they run and are shown."""

import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.framework.results import Growth, Row
from benchmarks.framework.session import Session

BENCHMARKS = {
    "start": "benchmarks.cases.start",
    "commands": "benchmarks.cases.commands",
    "fleet": "benchmarks.cases.fleet",
    "many": "benchmarks.cases.many",
    "alternatives": "benchmarks.cases.alternatives",
    "qemu": "benchmarks.cases.qemu.case",
    "linux-boot": "benchmarks.cases.linux_boot",
    "proof": "benchmarks.cases.proof.case",
    "modes": "benchmarks.cases.modes",
    "image": "benchmarks.cases.image.build",
    "ext2": "benchmarks.cases.ext2.case",
    "programs": "benchmarks.cases.programs",
    "debian-programs": "benchmarks.cases.debian_programs",
    "growth-guests": "benchmarks.cases.growth.guests",
    "growth-segment": "benchmarks.cases.growth.segment",
    "growth-files": "benchmarks.cases.growth.files",
    "growth-names": "benchmarks.cases.growth.names",
    "growth-versions": "benchmarks.cases.growth.versions",
}


def load(name: str) -> Callable[[Session], list[Row | Growth]]:
    """Return the function that runs a benchmark."""
    module: Any = importlib.import_module(BENCHMARKS[name])
    function: Callable[[Session], list[Row | Growth]] = module.run
    return function
