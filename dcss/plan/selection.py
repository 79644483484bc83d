"""Choose what goes into the segment: what saves most, under paths that do not contradict each other, in the budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dcss.abi.page import PAGE_SIZE
from dcss.config.sources import FilesSource
from dcss.errors import ConfigError, ImageSizeError
from dcss.ext2.mkfs.blockmap import count_indirect_blocks
from dcss.ext2.mkfs.image import extents_of
from dcss.ext2.mkfs.tree import Tree, default_directory
from dcss.image.build import ImagePlan, plan_image, plan_tree
from dcss.image.sources.patterns import literal_pattern
from dcss.plan.candidates import Candidate
from dcss.plan.inputs.consumer import Consumer
from dcss.plan.knapsack import Filling, Item, fill
from dcss.plan.tree import chosen_tree


@dataclass(frozen=True, slots=True)
class Selection:
    """The files of the segment, and its image; `patterns` name them where they are files of this machine."""

    chosen: tuple[Candidate, ...]
    filling: Filling
    image: ImagePlan
    patterns: tuple[str, ...]


def claim_paths(candidates: Sequence[Candidate], counts: Sequence[int], notes: list[str]) -> list[Candidate]:
    """Return the candidates that save something, each used by those consumers only whose path for it is free.

    One path holds one file: the candidate that saves more has it.
    """
    taken: dict[bytes, Candidate] = {}
    directories: set[bytes] = set()
    claimed, refused = [], 0
    ordered = sorted(candidates, key=lambda each: (-each.saved_bytes(counts), each.path))
    for candidate in ordered:
        if candidate.saved_bytes(counts) <= 0:
            continue
        for number, file in list(candidate.uses.items()):
            free = [path for path in file.paths if _is_free(path, candidate, taken, directories)]
            if free:
                file.paths[:] = free
                for path in free:
                    taken[path] = candidate
                    directories.update(_parents(path))
            else:
                del candidate.uses[number]
                refused += 1
        if candidate.saved_bytes(counts) > 0:
            claimed.append(candidate)
    if refused:
        notes.append(f"{refused} uses left out: another file that saves more has their path")
    return claimed


def _is_free(path: bytes, candidate: Candidate, taken: dict[bytes, Candidate], directories: set[bytes]) -> bool:
    if path in directories or taken.get(path, candidate) is not candidate:
        return False
    return not any(parent in taken for parent in _parents(path))


def _parents(path: bytes) -> list[bytes]:
    names = path.split(b"/")[1:-1]
    return [b"/" + b"/".join(names[: count + 1]) for count in range(len(names))]


def select(
    candidates: Sequence[Candidate],
    consumers: Sequence[Consumer],
    counts: Sequence[int],
    *,
    address: int,
    budget_bytes: int | None,
) -> Selection:
    """Return the candidates that save most within the budget, metadata included, and the image that they make.

    Raises ConfigError where the budget is too small for any of them, ImageError for what cannot be in an image.
    """
    items = [Item(_pages(each), each.saved_bytes(counts)) for each in candidates]
    if budget_bytes is None:
        worth = sum(item.worth for item in items)
        everything = Filling(tuple(range(len(items))), worth, exact=True, bound=worth)
        return _selection(candidates, consumers, everything, address, None)
    capacity_pages = budget_bytes // PAGE_SIZE - _empty_pages()
    while True:
        filling = fill(items, max(capacity_pages, 0))
        if not filling.chosen:
            smallest = min(range(len(items)), key=lambda number: items[number].pages)
            raise _too_small(candidates[smallest], consumers, address, budget_bytes)
        try:
            return _selection(candidates, consumers, filling, address, budget_bytes)
        except ImageSizeError as error:
            # Metadata grows with what goes in: leave room for that of this choice, and choose again.
            lacking_pages = -(-(error.needed_bytes - budget_bytes) // PAGE_SIZE)
            used_pages = sum(items[number].pages for number in filling.chosen)
            capacity_pages = min(capacity_pages, used_pages) - max(lacking_pages, 1)


@cache
def _empty_pages() -> int:
    """Return how many pages an image without files has."""
    return plan_tree(Tree(default_directory())).size_bytes // PAGE_SIZE


def _too_small(smallest: Candidate, consumers: Sequence[Consumer], address: int, budget_bytes: int) -> ConfigError:
    wanted_bytes = PAGE_SIZE
    try:
        _image((smallest,), consumers, _patterns((smallest,)), address, wanted_bytes)
    except ImageSizeError as error:
        wanted_bytes = error.needed_bytes
    path = smallest.path.decode(errors="replace")
    return ConfigError(
        f"--size: found {budget_bytes} bytes, wanted at least {wanted_bytes}: the smallest file that saves anything,"
        f" {path}, needs so many, metadata included"
    )


def _pages(candidate: Candidate) -> int:
    return candidate.size_bytes // PAGE_SIZE + count_indirect_blocks(extents_of(candidate.node.data))


def _selection(
    candidates: Sequence[Candidate],
    consumers: Sequence[Consumer],
    filling: Filling,
    address: int,
    limit_bytes: int | None,
) -> Selection:
    chosen = tuple(candidates[number] for number in filling.chosen)
    patterns = _patterns(chosen)
    image = _image(chosen, consumers, patterns, address, None)
    if limit_bytes is not None and image.size_bytes > limit_bytes:  # alignment gives way first
        image = _image(chosen, consumers, patterns, address, limit_bytes // PAGE_SIZE * PAGE_SIZE)
    return Selection(chosen, filling, image, patterns)


def _patterns(chosen: Sequence[Candidate]) -> tuple[str, ...]:
    """Return patterns for the files where all are this machine's own, else nothing."""
    if not all(candidate.on_host for candidate in chosen):
        return ()
    return tuple(literal_pattern(path) for path in sorted(path for candidate in chosen for path in candidate.paths))


def _image(
    chosen: Sequence[Candidate],
    consumers: Sequence[Consumer],
    patterns: tuple[str, ...],
    address: int,
    size_bytes: int | None,
) -> ImagePlan:
    if patterns:
        return plan_image(FilesSource(patterns), address=address, size_bytes=size_bytes)
    return plan_tree(chosen_tree(chosen, consumers), address=address, size_bytes=size_bytes)
