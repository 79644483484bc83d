"""Names that were looked up, found or not (the kernel's dentry cache), by directory and name."""

from dcss.ext2.oldest import drop_oldest


class NameCache:
    """Inode numbers by directory and name, None for a name that is not there; the oldest entries go when it is full.

    What changes a directory says so by `set`, so an entry is never wrong.
    """

    __slots__ = ("_slots", "known")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.known: dict[tuple[int, bytes], int | None] = {}  # to look at, not to change

    def __len__(self) -> int:
        """Names that are known."""
        return len(self.known)

    def get(self, directory: int, name: bytes) -> int | None:
        """Return the inode number, or None for a name that is not there. Raises KeyError where neither is known."""
        return self.known[directory, name]

    def set(self, directory: int, name: bytes, number: int | None) -> None:
        """Remember what a name leads to."""
        if len(self.known) >= self._slots:
            drop_oldest(self.known)
        self.known[directory, name] = number

    def clear(self) -> None:
        """Forget all names."""
        self.known.clear()
