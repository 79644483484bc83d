"""A guest that reads a whole volume must not hold a copy of one of its pages: sharing is what the project is about."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ext2_support import CountingSource, debugfs, make_image, read_everything
from needs_support import needs

PAGE = 4096
WORD = 8
DISTINCTIVE_BYTES = 64  # of a page, that differ from its most frequent byte

READER = """
import mmap, sys
from ext2_support import read_everything
from dcss.ext2.source import BufferSource

with open(sys.argv[1], "rb") as image:
    source = BufferSource(mmap.mmap(image.fileno(), 0, prot=mmap.PROT_READ))
read_everything(source)
kept = bytes(source.bytes_at(int(sys.argv[2]) * 4096, 4096)) if len(sys.argv) > 2 else None
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("copies")
    tree = directory / "tree"
    (tree / "many").mkdir(parents=True)
    for number in range(1500):
        (tree / "many" / f"a name that is long enough to fill blocks {number}").touch()
    for number in range(40):
        (tree / f"file-{number}").write_bytes(bytes([number]) * (100_000 + number))
    (tree / "large").write_bytes(os.urandom(9 << 20))
    with (tree / "scattered").open("wb") as file:
        for at in range(0, 15_000, 2):
            file.seek(at * PAGE)
            file.write(b"%d" % at)
    # A target is returned as bytes, and with zeros after it in fresh memory it may look like its whole block: no
    # link here has a block.
    (tree / "link").symlink_to("many")
    image = make_image(directory / "image", "64M", "-b", "4096", "-I", "128", "-N", "4096", tree=tree)
    value = directory / "value"
    value.write_bytes(bytes(range(256)) * 15)
    debugfs(image, f'ea_set -f "{value}" /large user.value', write=True)
    return image


def private_memory(pid: int) -> bytes:
    """Return what the process has in anonymous memory."""
    regions = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            span, access, _, _, inode, *name = line.split()
            if "w" not in access or inode != "0" or (name and name[0] in {"[vvar]", "[vsyscall]"}):
                continue
            start, end = (int(at, 16) for at in span.split("-"))
            memory.seek(start)
            regions.append(memory.read(end - start))
    return b"\0".join(regions)


def copied_pages(image: Path, *arguments: str) -> list[int]:
    """Let a process read everything, then return the pages it read that stand in its memory, at any byte."""
    paths = os.pathsep.join(path for path in sys.path if path)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, image, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    with reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ready\n"
        memory = private_memory(reader.pid)
        reader.communicate(b"")
    assert len(memory) > 1 << 20
    content = image.read_bytes()
    source = CountingSource(content)
    read_everything(source)
    numbers = {at // PAGE for offset, length in source.reads for at in range(offset, offset + length, PAGE)}
    pages = {number: content[number * PAGE : (number + 1) * PAGE] for number in sorted(numbers)}
    searched = {number: page for number, page in pages.items() if is_distinctive(page)}
    assert len(searched) > 60
    return pages_in(memory, searched)


def is_distinctive(page: bytes) -> bool:
    """Whether no other memory looks like this page by chance.

    An empty block of lost+found is zeros but for one byte, as is much of any program's fresh memory.
    """
    return PAGE - Counter(page).most_common(1)[0][1] >= DISTINCTIVE_BYTES


def pages_in(memory: bytes, pages: dict[int, bytes]) -> list[int]:
    """Return the numbers of the pages that stand in `memory`, at any byte.

    A page is looked for by the word of it that has most different bytes, all pages at once: `page in memory` for each
    would take minutes.
    """
    words: dict[int, list[tuple[int, int]]] = {}  # by the word's value: the page, and where in it the word lies
    for number, page in pages.items():
        at = max(range(0, PAGE, WORD), key=lambda at: len(set(page[at : at + WORD])))
        words.setdefault(int.from_bytes(page[at : at + WORD], sys.byteorder), []).append((number, at))
    wanted = np.array(sorted(words), np.uint64)
    found = set()
    for shift in range(WORD):
        view = np.frombuffer(memory, np.uint64, (len(memory) - shift) // WORD, shift)
        for index in np.flatnonzero(np.isin(view, wanted)).tolist():
            for number, at in words[int(view[index])]:
                start = shift + index * WORD - at
                if start >= 0 and memory[start : start + PAGE] == pages[number]:
                    found.add(number)
    return sorted(found)


@needs("mke2fs", "debugfs")
def test_no_page_of_the_image_is_copied(image: Path) -> None:
    assert copied_pages(image) == []


@needs("mke2fs", "debugfs")
def test_the_search_finds_a_copy(image: Path) -> None:
    root = int(debugfs(image, "bmap /many 2").split()[0])
    assert copied_pages(image, str(root)) == [root]
