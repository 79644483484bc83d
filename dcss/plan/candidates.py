"""Find what consumers have in common: files of equal content and mode, whatever they are called."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from dcss.ext2.mkfs.tree import TreeFile
from dcss.image.sources.contents import read_contents
from dcss.plan.inputs.consumer import Consumer, UsedFile, data_bytes

_PERMISSIONS = 0o7777


@dataclass(slots=True, eq=False)
class Candidate:
    """One content, and the consumers that would use it, by their numbers, each with the file that it has of it."""

    node: TreeFile
    uses: dict[int, UsedFile] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """What it takes in a segment, without metadata."""
        return data_bytes(self.node)

    @property
    def path(self) -> bytes:
        """The first path that it has anywhere."""
        return min(path for file in self.uses.values() for path in file.paths)

    @property
    def paths(self) -> list[bytes]:
        """All paths that it has."""
        return sorted({path for file in self.uses.values() for path in file.paths})

    @property
    def on_host(self) -> bool:
        """Whether this machine has it at every path."""
        return all(file.path_on_host for file in self.uses.values())

    def touched_bytes(self, consumer: int) -> int | None:
        """Return what a consumer touched of it, None where that is not known."""
        touched_bytes = self.uses[consumer].touched_bytes
        return None if touched_bytes is None else min(touched_bytes, self.size_bytes)

    def used_bytes(self, consumer: int) -> int:
        """Return what a consumer needs of it: what it touched or, where that is not known, all."""
        touched_bytes = self.touched_bytes(consumer)
        return self.size_bytes if touched_bytes is None else touched_bytes

    def saved_bytes(self, counts: Sequence[int]) -> int:
        """Return what sharing it saves for so many guests of each consumer; negative where it costs more."""
        return sum(counts[number] * self.used_bytes(number) for number in self.uses) - self.size_bytes


def candidates_of(consumers: Sequence[Consumer]) -> list[Candidate]:
    """Return one candidate for each content. Contents are compared where sizes are equal. Raises ImageError."""
    nodes = {file.node for consumer in consumers for file in consumer.files}
    keys = _keys(nodes)
    found: dict[object, Candidate] = {}
    for number, consumer in enumerate(consumers):
        for file in consumer.files:
            candidate = found.setdefault(keys[file.node], Candidate(file.node))
            known = candidate.uses.setdefault(number, file)
            if known is not file:  # two files of equal content in one consumer
                candidate.uses[number] = _joined(known, file)
    return list(found.values())


def _joined(first: UsedFile, second: UsedFile) -> UsedFile:
    touched = [each.touched_bytes for each in (first, second) if each.touched_bytes is not None]
    referenced = [each.referenced_bytes for each in (first, second) if each.referenced_bytes is not None]
    return UsedFile(
        first.node,
        [*first.paths, *second.paths],
        max(touched, default=None),
        max(referenced, default=None),
        first.path_on_host and second.path_on_host,
    )


def _keys(nodes: Iterable[TreeFile]) -> dict[TreeFile, object]:
    """Return for each file what equals another's where both have the same content and permissions."""
    by_size: defaultdict[tuple[int, int], list[TreeFile]] = defaultdict(list)
    for node in nodes:
        by_size[node.size_bytes, node.attributes.mode & _PERMISSIONS].append(node)
    keys: dict[TreeFile, object] = {}
    compared = []
    for same in by_size.values():
        if len(same) == 1:
            keys[same[0]] = same[0]
        else:
            compared += same
    for node, content in read_contents(compared):
        keys[node] = (node.size_bytes, node.attributes.mode & _PERMISSIONS, sha256(content).digest())
    return keys
