"""DIAGNOSE X'08', a CP command from a guest: what its registers mean, and how the four cross the channel.

Source: arch/s390/kernel/cpcmd.c of Linux. Rx is the command's address, Ry its length and flags; with RESPONSE_IN_BUFFER
Rx+1 is the response buffer's address and Ry+1 its length. CP returns its return code in Ry and, with a buffer, in Ry+1
the bytes stored (condition code 0) or the bytes that found no room (1). Command and response are EBCDIC; CP ends each
line of a response, and a guest each command but the last, with X'15'.

A request's block is REQUEST_HEAD and the command. A reply's block is what goes into the buffer; since the instruction
leaves Rx alone, the reply's rx carries Ry+1.
"""

from typing import NamedTuple

from dcss.abi.layout import U64, struct_of

DIAGNOSE_08 = 0x08
RESPONSE_IN_BUFFER = 0x4000_0000
LENGTH_MASK = 0x00FF_FFFF
MAX_COMMAND_BYTES = 240
LINE_END = "\x85"  # X'15' in code page 037


class RequestHead(NamedTuple):
    """Registers Rx+1 and Ry+1, at the head of a request's block."""

    buffer_address: U64
    buffer_bytes: U64


REQUEST_HEAD = struct_of(RequestHead, ">")
