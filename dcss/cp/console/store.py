"""STORE NSS: CP writes pages of type SC, as z/VM's monitor does those of MONDCSS. The command is ours, for an operator.

z/VM's own STORE (host storage) is class C too; which words it would take for a segment is not in public sources.
"""

import re
from collections.abc import Sequence

from dcss.abi.extmem import SegmentType
from dcss.cp.console import messages
from dcss.cp.console.definition import parse_name
from dcss.cp.console.messages import CommandError
from dcss.cp.segments.directory import Directory
from dcss.cp.segments.segment import Segment

_ADDRESS = re.compile(r"[0-9A-F]{1,16}", re.ASCII)
_DATA = re.compile(r"([0-9A-F]{2})+", re.ASCII)


def store(directory: Directory, words: Sequence[str]) -> Segment:
    """Write NAME HEXADDRESS HEXDATA [HEXDATA ...], and return the segment; who has it loaded sees the bytes at once.

    The address is absolute, of a byte. Raises CommandError, PublishError, DamagedError.
    """
    if len(words) < 3:
        raise CommandError(messages.MISSING_OPERAND)
    name = parse_name(words[0])
    segment = directory.available.get(name)
    if segment is None:
        raise CommandError(
            messages.NOT_SAVED if name in directory.skeletons else messages.NO_SUCH_FILE, name=name, file=name
        )
    if not _ADDRESS.fullmatch(words[1]):
        raise CommandError(messages.INVALID_HEXDATA, hexdata=words[1])
    for word in words[2:]:
        if not _DATA.fullmatch(word):
            raise CommandError(messages.INVALID_HEXDATA, hexdata=word)
    start, data = int(words[1], 16), bytes.fromhex("".join(words[2:]))
    end = start + len(data) - 1
    if not any(
        each.type is SegmentType.SC and each.start <= start and end <= each.end for each in segment.definition.ranges
    ):
        raise CommandError(messages.NOT_CP_WRITTEN, name=name, start=start, end=end)
    directory.write(segment, start - segment.definition.start, data)
    return segment
