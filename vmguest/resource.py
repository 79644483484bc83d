"""Address ranges that have an owner, as kernel/resource.c keeps them; /proc/iomem lists them."""

from collections.abc import Iterator
from errno import EBUSY
from typing import NamedTuple

from dcss.errors import KernelError


class Resource(NamedTuple):
    """A range of absolute addresses; `end` is its last byte, `read_only` is IORESOURCE_READONLY."""

    name: str
    start: int
    end: int
    read_only: bool = False


class Resources:
    """One tree's top level: ranges that do not overlap."""

    def __init__(self) -> None:
        self._resources: list[Resource] = []

    def __iter__(self) -> Iterator[Resource]:
        return iter(sorted(self._resources, key=lambda resource: resource.start))

    def request(self, new: Resource) -> None:
        """Take a range (request_resource). Raises KernelError(EBUSY), naming who has some of it."""
        for other in self._resources:
            if other.start <= new.end and new.start <= other.end:
                raise KernelError(
                    EBUSY,
                    f"{new.name}: {new.start:#x} to {new.end:#x}, of which {other.name} has {other.start:#x} to"
                    f" {other.end:#x}",
                )
        self._resources.append(new)

    def release(self, resource: Resource) -> None:
        """Give a range back (release_resource). Raises ValueError where nobody has it."""
        self._resources.remove(resource)
