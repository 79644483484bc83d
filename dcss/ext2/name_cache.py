"""Names that were looked up, found or not (the kernel's dentry cache), by directory and name."""


class NameCache:
    """Inode numbers by directory and name, None for a name that is not there; the oldest entry goes when it is full.

    What changes a directory says so by `set`, so an entry is never wrong.
    """

    __slots__ = ("_names", "_slots")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._names: dict[tuple[int, bytes], int | None] = {}

    def __len__(self) -> int:
        """Names that are known."""
        return len(self._names)

    def get(self, directory: int, name: bytes) -> int | None:
        """Return the inode number, or None for a name that is not there. Raises KeyError where neither is known."""
        return self._names[directory, name]

    def set(self, directory: int, name: bytes, number: int | None) -> None:
        """Remember what a name leads to."""
        if len(self._names) >= self._slots:
            del self._names[next(iter(self._names))]
        self._names[directory, name] = number

    def clear(self) -> None:
        """Forget all names."""
        self._names.clear()
