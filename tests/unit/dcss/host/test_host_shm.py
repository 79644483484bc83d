"""Named shared memory objects of ours: their names, and room for more."""

import pytest

from dcss.errors import PublishError
from dcss.host import shm
from dcss.host.shm import check_space


def test_too_little_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "available_memory_bytes", lambda: 4096)
    with pytest.raises(PublishError, match=r"needs 8192 bytes .* of memory, found 4096 bytes"):
        check_space("segment LIB", 8192)
