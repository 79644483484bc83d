"""One run of a guest that runs programs."""

from dcss.account.targets import AddressRange
from dcss.engines.base import MemoryLayout
from dcss.engines.forked.instance import ForkedInstance
from dcss.engines.forked.program_console import ProgramConsole
from vmguest.storage import program_range


class ProgramInstance(ForkedInstance):
    """A guest of engine s390x. Its programs execute files where the segments lie in its absolute storage."""

    console_type = ProgramConsole

    def memory(self) -> MemoryLayout:
        """Return the ranges, and the part of real storage that programs have as their own memory."""
        layout = super().memory()
        first, end = program_range(self._storage_bytes)
        own = AddressRange(layout.window.start + first, layout.window.start + end)
        return layout._replace(origins=(*layout.origins, (own, "program")), in_place=True)
