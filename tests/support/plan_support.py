"""Consumers and candidates of files that need not exist."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from dcss.abi.page import PAGE_SIZE
from dcss.ext2.mkfs.tree import DataRun, NodeAttributes, TreeFile
from dcss.image.sources.host import HostFile
from dcss.plan.candidates import Candidate
from dcss.plan.inputs.consumer import Consumer, UsedFile


def file_of(pages: int, mode: int = 0o100644) -> TreeFile:
    """Return a file of so many pages, of which nobody reads the bytes."""
    size_bytes = pages * PAGE_SIZE
    store = HostFile(b"/nowhere", size_bytes, 0)
    return TreeFile(NodeAttributes(mode, 0, 0, 0), size_bytes, (DataRun(0, 0, size_bytes),), store)


def consumer_of(name: str, files: Mapping[str, TreeFile], guests: int = 1) -> Consumer:
    """Return a consumer of files under these paths."""
    return Consumer(name, "directory", name, [UsedFile(node, [path.encode()]) for path, node in files.items()], guests)


def candidates_in(consumers: Sequence[Consumer]) -> list[Candidate]:
    """Return a candidate for each file: here, equal content is one node."""
    found: dict[TreeFile, Candidate] = {}
    for number, consumer in enumerate(consumers):
        for file in consumer.files:
            found.setdefault(file.node, Candidate(file.node)).uses[number] = file
    return list(found.values())


def write_files(root: Path, pages: Mapping[str, int], seed: str = "") -> Path:
    """Write files of so many pages under `root`, with content that their path and the seed determine."""
    for path, count in pages.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        word = sha256(f"{seed}{path}".encode()).digest()
        content = b"".join(sha256(word + number.to_bytes(4, "big")).digest() * 128 for number in range(count))
        target.write_bytes(content[: count * PAGE_SIZE])
    return root
