"""Which pages of code hold an instruction that would end the emulator, and what the program runs in their place.

Unicorn 2.1.4 dies while it translates SQXBR (square root of an extended number, B316 in hexadecimal), which the C
library's long double functions have. Pages that may be executed are looked through when a program first touches them,
each frame once for all programs, but only where the file has instructions: data that looks like one must stay as it is.
A page that has the two bytes is given to the program as a copy in which they are
zero: that raises an operation exception, at which the instruction is done in software.

Unicorn knows what it has translated by absolute address, and sees what programs store there, but not what the guest
kernel does. A frame of real storage that is executed again with other content makes it forget all translations.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from vmguest.s390x.page_frames import PageFrames

_SQXBR = b"\xb3\x16"
_SQXBR_PLACES = re.compile(re.escape(_SQXBR))
_INSTRUCTION_BYTES = 4
_GROUP_PAGES = 16


class CodePages:
    """What is known of page frames that hold code. Frames are numbers of absolute pages.

    `forget_translations` has the CPU translate all instructions anew.
    """

    def __init__(self, frames: PageFrames, forget_translations: Callable[[], None] = lambda: None) -> None:
        self._memory = frames.memory
        self._forget_translations = forget_translations
        self._executed: dict[int, int | None] = {}  # by address: the hash of what was executed, None for unknown
        # What lies in segments stays as it is while they are loaded; frames of real storage are used again.
        self._first_lasting = frames.machine.storage.size_bytes >> PAGE_SHIFT
        self._known: set[int] = set()
        self._killing: dict[int, tuple[int, ...]] = {}  # a frame, and where in it the instruction may be
        self._patched: dict[int, tuple[int, ...]] = {}  # by the absolute address of a copy

    def parts(self, first: int, count: int) -> Iterator[tuple[range, bool]]:
        """Yield frames in parts, and whether each was looked through already."""
        end = first + count
        while first < end:
            stop = min(end, first - first % _GROUP_PAGES + _GROUP_PAGES)
            yield range(first, stop), self._known.issuperset(range(first, stop))
            first = stop

    def examine(self, part: range, code: Sequence[range], offset: int) -> list[int]:
        """Look frames through; return those that have the instruction.

        `code` has the file's ranges of instructions, `offset` is where in the file the first frame lies, in bytes.
        """
        for frame in part:
            self._look(frame, code, offset + (frame - part.start) * PAGE_SIZE)
            self.execute(frame << PAGE_SHIFT)
        if part.start >= self._first_lasting:
            self._known.update(part)
        return [frame for frame in part if frame in self._killing]

    def patched_in(self, first: int, count: int) -> Iterable[int]:
        """Return the frames among some that are known to have the instruction."""
        if not self._killing:
            return ()
        return [frame for frame in self._killing if first <= frame < first + count]

    def patch(self, copy: int, frame: int) -> None:
        """Take the instruction out of a copy of a frame."""
        for offset in self._killing[frame]:
            self._memory[copy + offset : copy + offset + 2] = b"\0\0"
        self._patched[copy] = self._killing[frame]
        self.execute(copy)

    def copied(self, source: int, copy: int) -> None:
        """Note that what a page of real storage holds was copied to another one."""
        if source in self._patched:
            self._patched[copy] = self._patched[source]

    def execute(self, address: int) -> None:
        """Note that a page may be executed from now on as it is; those of segments do not change."""
        if address >> PAGE_SHIFT >= self._first_lasting:
            return
        content = hash(bytes(self._memory[address : address + PAGE_SIZE]))
        before = self._executed.get(address, content)
        if before != content:
            self._forget_translations()
            self._executed.clear()
        self._executed[address] = content

    def store(self, address: int) -> None:
        """Note that a page will be stored into: the CPU sees it, or does not execute the page before `execute`."""
        if address in self._executed:
            self._executed[address] = None

    def store_unseen(self, address: int) -> None:
        """Note that the guest kernel will store into a page that may be executed, which the CPU does not see."""
        if address in self._executed:
            self._forget_translations()
            self._executed = {address: None}

    def is_patched(self, address: int) -> bool:
        """Return whether the instruction at an absolute address was taken out."""
        offsets = self._patched.get(address & -PAGE_SIZE)
        return offsets is not None and address % PAGE_SIZE in offsets

    def forget(self, copies: Iterable[int]) -> None:
        """Forget copies that are given back."""
        if self._patched:
            for copy in copies:
                self._patched.pop(copy, None)

    def _look(self, frame: int, code: Sequence[range], offset: int) -> None:
        start = frame << PAGE_SHIFT
        # Looked at in place, so that no copy is left; and no further, since the next page may be nobody's.
        page = self._memory[start : start + PAGE_SIZE]
        offsets = [
            at
            for at in (found.start() for found in _SQXBR_PLACES.finditer(page))
            if at % 2 == 0
            and is_square_root(bytes(page[at : at + _INSTRUCTION_BYTES]))
            and any(offset + at in each for each in code)
        ]
        if offsets:
            self._killing[frame] = tuple(offsets)
        else:
            self._killing.pop(frame, None)


def is_square_root(instruction: bytes) -> bool:
    """Return whether bytes are SQXBR: its third byte is unused, and each operand a pair of registers."""
    if len(instruction) < _INSTRUCTION_BYTES:
        return instruction.startswith(_SQXBR)
    operands = (instruction[3] >> 4, instruction[3] & 15)
    return instruction.startswith(_SQXBR + b"\0") and not any(number & 2 for number in operands)
