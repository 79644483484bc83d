"""What every implementation of ext2 is asked to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

SMALL_FILES = 2000
LARGE_BYTES = 64 << 20
READS = 5000
Work = Callable[[], object]


class Subject(ABC):
    """One implementation; `works` are timed in turn after `mount`, each a name and what to do."""

    name = ""

    def __init__(self, image: Path, paths: list[str]) -> None:
        self.image = image
        self.paths = paths
        self.large = max(paths, key=lambda path: path.endswith("large.bin"))

    def works(self) -> Iterator[tuple[str, Work]]:
        """Yield what is timed."""
        yield "cold walk with stat", self.walk
        yield "warm walk with stat", self.walk
        yield "cold lookups", self.look_up
        yield "warm lookups", self.look_up
        yield "read the whole tree", self.read_all
        yield "4 KiB random reads", self.read_random
        yield "sequential read", self.read_large

    @abstractmethod
    def mounted(self) -> AbstractContextManager[float]:
        """Mount, and yield how long that took."""

    @abstractmethod
    def walk(self) -> int: ...

    @abstractmethod
    def look_up(self) -> None: ...

    @abstractmethod
    def read_all(self) -> int: ...

    @abstractmethod
    def read_random(self) -> None: ...

    @abstractmethod
    def read_large(self) -> None: ...
