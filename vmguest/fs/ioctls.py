"""Requests of ioctl(2) that any open file may get (asm-generic/ioctls.h, which s390 uses)."""

import struct
from typing import Final

FIONREAD: Final = 0x541B
FIONBIO: Final = 0x5421
FIOASYNC: Final = 0x5452

INT: Final = struct.Struct(">i")  # an int of s390
