"""Which pages of code hold an instruction that the emulator gets wrong, and what the program runs in their place.

Pages that may be executed are looked through when a program first touches them,
each frame once for all programs, but only where the file has instructions: data that looks like one must stay as it is.
A page that has such an instruction (vmguest.s390x.wrong_instructions) is given to the program as a copy in which its
first two bytes are zero: that raises an operation exception, at which it is done in software.

Unicorn knows what it has translated by absolute address, and sees what programs store there, but not what the guest
kernel does. A frame of real storage that is executed again with other content makes it forget all translations.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from vmguest.s390x.page_frames import PageFrames
from vmguest.s390x.wrong_instructions import find_wrong

_TAKEN_BYTES = 2
_BEFORE_BYTES = 128  # of the page before, from which on instructions are followed
_BEHIND_BYTES = 4  # of the page behind, which an instruction may reach into
_GROUP_PAGES = 16


class CodePages:
    """What is known of page frames that hold code. Frames are numbers of absolute pages.

    `forget_translations` has the CPU translate all instructions anew.
    """

    def __init__(self, frames: PageFrames, forget_translations: Callable[[], None] = lambda: None) -> None:
        self._frames = frames
        self._memory = frames.memory
        self._forget_translations = forget_translations
        self._executed: dict[int, int | None] = {}  # by address: the hash of what was executed, None for unknown
        # What lies in segments stays as it is while they are loaded; frames of real storage are used again.
        self._first_lasting = frames.machine.storage.size_bytes >> PAGE_SHIFT
        self._known: set[int] = set()
        self._wrong: dict[int, tuple[int, ...]] = {}  # a frame, and where in it the instructions may be
        self._patched: dict[int, dict[int, bytes]] = {}  # by the absolute address of a copy: what was taken out, where
        self._common: dict[int, int] = {}  # copies that all programs have, by the frames of segments

    def parts(self, first: int, count: int) -> Iterator[tuple[range, bool]]:
        """Yield frames in parts, and whether each was looked through already."""
        end = first + count
        while first < end:
            stop = min(end, first - first % _GROUP_PAGES + _GROUP_PAGES)
            yield range(first, stop), self._known.issuperset(range(first, stop))
            first = stop

    def examine(self, part: range, code: Sequence[range], offset: int) -> list[int]:
        """Look frames through; return those that have such an instruction.

        `code` has the file's ranges of instructions, `offset` is where in the file the first frame lies, in bytes.
        """
        for frame in part:
            at = offset + (frame - part.start) * PAGE_SIZE
            before_bytes = _BEFORE_BYTES if frame > part.start else 0
            self._look(frame, code, at, before_bytes, _BEHIND_BYTES if frame + 1 < part.stop else 0)
            self.execute(frame << PAGE_SHIFT)
        if part.start >= self._first_lasting:
            self._known.update(part)
        return [frame for frame in part if frame in self._wrong]

    def patched_in(self, first: int, count: int) -> Iterable[int]:
        """Return the frames among some that are known to have such an instruction."""
        if not self._wrong:
            return ()
        return [frame for frame in self._wrong if first <= frame < first + count]

    def common_copy(self, frame: int) -> int | None:
        """Return the address of a copy of a segment's frame without the instructions, or None for other frames.

        It is made once, and belongs to the guest kernel. Raises KernelError(ENOMEM).
        """
        if frame < self._first_lasting:
            return None
        copy = self._common.get(frame)
        if copy is None:
            copy = self._common[frame] = self._frames.kept_copy_of(frame << PAGE_SHIFT)
            self.patch(copy, frame)
        return copy

    def patch(self, copy: int, frame: int) -> None:
        """Take the instructions out of a copy of a frame."""
        taken = self._patched[copy] = {}
        for offset in self._wrong[frame]:
            place = slice(copy + offset, copy + offset + _TAKEN_BYTES)
            taken[offset] = bytes(self._memory[place])
            self._memory[place] = bytes(_TAKEN_BYTES)
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

    def taken_out(self, address: int) -> bytes | None:
        """Return the first two bytes of the instruction at an absolute address, if they were taken out."""
        return self._patched.get(address & -PAGE_SIZE, {}).get(address % PAGE_SIZE)

    def forget(self, copies: Iterable[int]) -> None:
        """Forget copies that are given back."""
        if self._patched:
            for copy in copies:
                self._patched.pop(copy, None)

    def _look(self, frame: int, code: Sequence[range], offset: int, before_bytes: int, behind_bytes: int) -> None:
        start = (frame << PAGE_SHIFT) - before_bytes
        # Looked at in place, so that no copy is left; and no further, since the next page may be nobody's.
        end = before_bytes + PAGE_SIZE
        found = find_wrong(self._memory[start : start + end + behind_bytes], before_bytes, end)
        offsets = tuple(at - before_bytes for at in found if any(offset + at - before_bytes in each for each in code))
        if offsets:
            self._wrong[frame] = offsets
        else:
            self._wrong.pop(frame, None)
