"""Which Unicorn engine s390x needs, and where it is installed."""

import importlib.metadata
import importlib.util
import re
from pathlib import Path

PACKAGE = "unicorn"
MINIMUM = "2.1.4"  # older ones write outside their memory (CKSM)
INSTALL = "pip install 'dcss-emulator[s390x]'"


def installed_version() -> str | None:
    """Return the version that is installed, without importing it; None where there is none."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_recent(version: str) -> bool:
    """Return whether a version is the oldest that works, or newer."""
    return _numbers(version) >= _numbers(MINIMUM)


def directory() -> Path:
    """Return the directory that the package lies in. Raises ModuleNotFoundError where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {PACKAGE}", name=PACKAGE)
    return Path(spec.origin).parents[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
