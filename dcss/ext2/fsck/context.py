"""State of a check: the problems found, and what was gathered to find them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from dcss.ext2.fsck.checksums import Checksums
from dcss.ext2.super import SbInfo
from dcss.ext2.volume import Volume

Kind = Literal["superblock", "group", "inode", "blocks", "directory", "links", "xattr", "bitmap", "count"]

MAX_PROBLEMS: Final = 1000  # a badly damaged image would give one for each of its inodes


@dataclass(frozen=True, slots=True)
class FsckProblem:
    """One inconsistency: its kind, where it is, and what was found and wanted."""

    kind: Kind
    where: str
    detail: str


class BlockUse(NamedTuple):
    """Blocks in use; `owner` names their user in messages."""

    first: int
    blocks: int
    owner: str


@dataclass(slots=True)
class CheckContext:
    """State of a running check."""

    info: SbInfo
    volume: Volume
    checksums: Checksums
    problems: list[FsckProblem] = field(default_factory=list)
    suppressed: int = 0  # problems past MAX_PROBLEMS
    uses: list[BlockUse] = field(default_factory=list)
    modes: dict[int, int] = field(default_factory=dict)  # of inodes in use
    links: dict[int, int] = field(default_factory=dict)
    references: Counter[int] = field(default_factory=Counter)
    xattr_blocks: Counter[int] = field(default_factory=Counter)
    indirect_blocks: set[int] = field(default_factory=set)  # each is followed once, however many inodes name it
    bad_groups: set[int] = field(default_factory=set)
    unwritten: dict[int, int] = field(default_factory=dict)  # BG_INODE_UNINIT, BG_BLOCK_UNINIT of groups

    @property
    def groups(self) -> range:
        """The groups that begin before the image's end."""
        superblock = self.info.superblock
        inside_blocks = self.info.block_limit - superblock.s_first_data_block
        return range(min(self.info.group_count, -(-inside_blocks // superblock.s_blocks_per_group)))

    def add(self, kind: Kind, where: str, detail: str) -> None:
        """Record a problem."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(FsckProblem(kind, where, detail))
        else:
            self.suppressed += 1
