"""Systems for tests of the Python API: small ones, in directories of a user of their own."""

from collections.abc import Iterator
from typing import Any

import pytest
from cli_support import Dcss, made_user

LIBRARIES = {"name": "LIB", "at": 0x20000000, "image": {"directory": "tree"}}
SHARING = {
    "name": "G",
    "count": 2,
    "mounts": [{"device": "dcssblk0", "at": "/", "options": ["ro", "xip"]}],
    "run": [{"map": "/usr/lib/**/*.so*"}],
}
COPYING = {**SHARING, "mounts": [{"device": "dcssblk0", "at": "/", "options": ["ro"]}], "run": [{"read": "/usr/lib/*"}]}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dcss]:
    """Give a user whose directories this very process uses, too; nothing may be left there."""
    with made_user() as user:
        for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            monkeypatch.setenv(name, user.environment[name])
        monkeypatch.chdir(user.home)
        yield user


def plan(user: Dcss, *guests: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a configuration with the user's libraries as a segment."""
    return {"system": user.system, "segments": [LIBRARIES], "guests": list(guests or (SHARING,)), **more}
