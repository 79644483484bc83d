"""Claims 1 and 3 computed again from `dcss verify --evidence FILE`, without a line of the project's own code.

python evidence_support.py FILE
"""

import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the records by kind."""
    data = path.read_bytes()
    records: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines():
        record = json.loads(line)
        records[record.pop("record")].append(record)
    return records


def one_frame_per_page(records: dict[str, list[dict[str, Any]]]) -> bool:
    """Every page of every file present at user level is CP's frame, in every guest that shares; and each has files.

    Of every file that is mapped, a page is present in all guests that map it.
    """
    page_bytes = records["system"][0]["page_bytes"]
    sharing = {guest["guest"]: guest for guest in records["guest"] if guest["expect"] == "shared"}
    segments = {segment["segment"]: segment for segment in records["segment"]}
    wrong: list[Any] = [stranger for stranger in records["stranger"] if stranger["guest"] in sharing]
    found: dict[tuple[str, str, int], list[int]] = defaultdict(list)  # guest, segment, page -> frames
    for record in records["mappings"]:
        guest = sharing.get(record["role"])
        if guest is None:
            continue
        frames = segments[record["segment"]]["frames"]
        for mapping in record["mappings"]:
            for index, frame in enumerate(mapping["frames"]):
                address = mapping["address"] + index * page_bytes
                page = mapping["segment_page"] + index
                in_window = guest["window"][0] <= address < guest["window"][1]
                if guest["user_area"][0] <= address < guest["user_area"][1] or (
                    frame and guest.get("in_place") and in_window
                ):
                    found[record["role"], record["segment"], page].append(frame)
                elif frame and in_window and frame != frames[page]:
                    wrong.append(mapping)
    mapped_by: Counter[str] = Counter()
    unchecked = []
    for pages in _files(records["segment"]):
        everywhere = set(pages)
        mappers = 0
        for name, guest in sharing.items():
            mapped = {(segment, page): found[name, segment, page] for segment, page in pages}
            if not any(mapped.values()):
                continue
            mappers += 1
            mapped_by[name] += 1
            present = {page: set(frames) - {0} for page, frames in mapped.items()}
            if not guest.get("in_place"):  # else a page that it does not use says nothing
                everywhere &= {page for page, frames in present.items() if frames}
            wrong += [
                pages for (segment, page), frames in present.items() if frames - {segments[segment]["frames"][page]}
            ]
        unchecked += [pages] if mappers and not everywhere else []
    return bool(sharing) and not wrong and not unchecked and all(mapped_by[name] for name in sharing)


def _files(segments: list[dict[str, Any]]) -> Iterable[list[tuple[str, int]]]:
    """Return the pages of each file, as segment and page: one whose file system is joined may have some in several."""
    files: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for segment in segments:
        file_system = ":".join(segment["joined"]) or segment["segment"]
        for file in segment["files"]:
            files[file_system, file["path"]] += [(segment["segment"], page) for page in file["pages"]]
    return files.values()


def books_close(records: dict[str, list[dict[str, Any]]]) -> bool:
    """The entries of all processes' mappings are as many as the kernel counts, frame by frame."""
    for segment in records["segment"]:
        entries = Counter(
            frame
            for record in records["mappings"]
            if record["segment"] == segment["segment"]
            for mapping in record["mappings"]
            for frame in mapping["frames"]
        )
        for frame, counted in zip(segment["frames"], segment["map_counts"], strict=True):
            if frame and entries[frame] != counted:
                return False
    return bool(records["segment"])


if __name__ == "__main__":
    evidence = read(Path(sys.argv[1]))
    print("one-frame-per-page", one_frame_per_page(evidence))
    print("books-close", books_close(evidence))
