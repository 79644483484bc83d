"""What a load does to a machine's storage: the segment's content lies at its address, in shared frames where it can.

All machines of a system have their storage from one object. Where another version, or another segment, lies there
already, machines may be using it: then this machine gets a copy of its own, and those that are started later share a
new object.
"""

from dcss.abi.page import PAGE_SHIFT
from dcss.engines.linux.real_storage import RealStorage
from dcss.engines.linux.storage_object import StorageObject


class SegmentStorage:
    """The storage of one machine where segments are, which is `shared` with others."""

    def __init__(self, shared: StorageObject) -> None:
        self.shared = shared
        self.outdated = False  # it holds something that CP's newest loads do not get

    def load(self, storage: RealStorage, content: int, start: int, size_bytes: int) -> str:
        """Bring in the content of a segment's object, open as `content`; return what is remarkable about that, or "".

        Called in a thread while the machine stands still. Raises PublishError, OSError.
        """
        if not self.shared.place(content, start, size_bytes):
            self.outdated = True
            copied = storage.restore(start, content, [(0, size_bytes >> PAGE_SHIFT)])
            return f"another version lies at {start:#x}: this machine gets {copied} pages of its own"
        # What it wrote here before, when it had the segment to itself, is not the segment's.
        restored = storage.restore(start, content, storage.own_pages(start, size_bytes))
        return f"{restored} changed pages at {start:#x} were restored" if restored else ""
