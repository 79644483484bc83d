"""Which Unicorn engine s390x needs, and how to install it."""

import re

PACKAGE = "unicorn"
MINIMUM = "2.1.4"  # older ones write outside their memory (CKSM)
INSTALL = "pip install 'dcss-emulator[s390x]'"


def installed_version() -> str | None:
    """Return the version that is installed, without importing it; None where there is none."""
    import importlib.metadata  # slow, and of use where a guest wants this engine

    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_recent(version: str) -> bool:
    """Return whether a version is the oldest that works, or newer."""
    return _numbers(version) >= _numbers(MINIMUM)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
