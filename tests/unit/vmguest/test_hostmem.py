"""What the guest's memory on the host says of itself when the host refuses it."""

from errno import EINVAL, ENOMEM
from pathlib import Path

import pytest

from vmguest import hostmem


def test_the_limit_of_mappings_is_named_where_it_is_what_mmap_ran_into(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    mappings = len(Path("/proc/self/maps").read_text().splitlines())
    assert hostmem._limit_reached(ENOMEM) == ""
    monkeypatch.setattr(hostmem, "_SPLIT_MAPPINGS", limit - mappings // 2)
    assert hostmem._limit_reached(EINVAL) == ""
    said = hostmem._limit_reached(ENOMEM)
    assert f"vm.max_map_count is {limit}: " in said
    assert said.endswith(f"sysctl -w vm.max_map_count={4 * limit})")
