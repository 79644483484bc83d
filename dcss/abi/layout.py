"""Declare a binary structure once, as a table: a NamedTuple whose annotations carry the struct codes."""

from struct import Struct
from typing import Annotated, Literal, NamedTuple, get_type_hints

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
U64 = Annotated[int, "Q"]
I64 = Annotated[int, "q"]
Bytes3 = Annotated[bytes, "3s"]
Bytes8 = Annotated[bytes, "8s"]
Bytes16 = Annotated[bytes, "16s"]
Bytes32 = Annotated[bytes, "32s"]
Bytes60 = Annotated[bytes, "60s"]
Bytes64 = Annotated[bytes, "64s"]
Bytes128 = Annotated[bytes, "128s"]
Bytes720 = Annotated[bytes, "720s"]
Bytes768 = Annotated[bytes, "768s"]
Bytes4096 = Annotated[bytes, "4096s"]


def struct_of(record: type[NamedTuple], byte_order: Literal["<", ">"], *, pad_bytes: int = 0) -> Struct:
    """Return the packer of `record`, its fields in order, unaligned, with `pad_bytes` of tail padding."""
    hints = get_type_hints(record, include_extras=True)
    codes = [hints[field].__metadata__[0] for field in record._fields]
    return Struct(byte_order + "".join(codes) + (f"{pad_bytes}x" if pad_bytes else ""))
