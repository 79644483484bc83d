"""Parse sizes and addresses as people write them: 64M, 1G, 4096, 0x4000000, 512KiB."""

import re

from dcss.config.problems import WrongValueError

_UNITS_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(0[xX][0-9A-Fa-f]{1,16}|[0-9]{1,20}) ?(?:([KMGTkmgt])(iB)?)?", re.ASCII)
_DECIMAL_UNIT = re.compile(r"[0-9.]+ ?[KMGTkmgt][Bb]", re.ASCII)
_WANTED = "a size such as 64M, 1G, 4096, 512KiB or 0x4000000"


def parse_size(value: object) -> int:
    """Return `value`, an int or text, in bytes; K, M, G and T are powers of 1024. Raises WrongValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise WrongValueError(_WANTED)
        return value
    if not isinstance(value, str):
        raise WrongValueError(_WANTED)
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise WrongValueError(
            _WANTED, "KB and MB mean powers of 1000 to some: write KiB, MiB" if _DECIMAL_UNIT.match(value) else ""
        )
    return int(match[1], 0 if match[1][:2] in {"0x", "0X"} else 10) * _UNITS_BYTES[(match[2] or "").upper()]
