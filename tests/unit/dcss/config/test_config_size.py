"""Sizes and addresses as people write them."""

import pytest

from dcss.config.problems import WrongValueError
from dcss.config.size import parse_size


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        (4096, 4096),
        (0, 0),
        ("4096", 4096),
        ("64M", 64 << 20),
        ("64m", 64 << 20),
        ("64 MiB", 64 << 20),
        ("512KiB", 512 << 10),
        ("1G", 1 << 30),
        ("2TiB", 2 << 40),
        ("0x4000000", 64 << 20),
        ("0X10", 16),
        ("0x10K", 16 << 10),
        ("010", 10),
        (" 8K ", 8192),
    ],
)
def test_sizes_are_read_in_powers_of_1024(written: object, size_bytes: int) -> None:
    assert parse_size(written) == size_bytes


@pytest.mark.parametrize(
    "written", ["", "M", "64X", "1.5G", "-1", -1, 1.5, True, None, [], "64 M B", "64MB", "0x", "1e6", "٣M", "9" * 21]
)
def test_anything_else_is_refused(written: object) -> None:
    with pytest.raises(WrongValueError, match="a size such as 64M"):
        parse_size(written)


def test_units_of_1000_get_a_hint() -> None:
    with pytest.raises(WrongValueError) as caught:
        parse_size("1.5GB")
    assert "write KiB, MiB" in caught.value.mends
