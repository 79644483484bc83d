"""docs/xip.md: what it names is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/xip.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:dcss|vmguest)\.[\w.]+)`", TEXT))))
def test_every_name_is_there(name: str) -> None:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: object = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return
    pytest.fail(f"no module of {name}")


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[\w/.]+(?:::\w+)?)`", TEXT))))
def test_every_test_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name or 'test_'}" in (ROOT / path).read_text()
