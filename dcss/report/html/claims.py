"""What each claim means, and how a reader computes it again from the evidence file."""

from typing import Final

CLAIM_TEXTS: Final = {
    "one-frame-per-page": "Guests that map the same page of a file use the same page frame: the segment's own.",
    "no-hidden-copies": "No guest that shares holds a copy of a segment's page anywhere else in its memory.",
    "books-close": "The kernel counts as many mappings of each frame as were found, so nobody else maps a segment.",
    "protection-holds": "Guests cannot change a segment that is not made to be written.",
    "baselines-copy": "Guests that are declared to copy do so: each page that they read is in a frame of their own.",
}
RECOMPUTE: Final = {
    "one-frame-per-page": (
        "For each record mappings of a guest, compare frames[i] with frames[segment_page + i] of the record segment,"
        " wherever present[i] is 1: they are equal."
    ),
    "no-hidden-copies": (
        "The records search name each process and how many of its pages were searched. Each record copy is one place"
        " that holds a page of a segment; origin says who made it, and only kernel refutes."
    ),
    "books-close": (
        "Count how often each frame stands in the records mappings of all processes: that is map_counts of the record"
        " segment, which the kernel reports in /proc/kpagecount."
    ),
    "protection-holds": (
        "The permissions in the records mappings are r--s or r-xs, never with w and s together. Stores and the digest"
        " can be tried on a running system only: dcss verify."
    ),
    "baselines-copy": (
        "Guests whose record guest has expect copies have no record mappings inside their user_area; the records"
        " search say how many pages were compared."
    ),
}
# A program that a reader can run: it needs the evidence file and nothing of this project.
PROGRAM: Final = """\
import gzip, json
from collections import Counter

def lines(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        yield from map(json.loads, file)

segments, guests, entries, differing = {}, set(), Counter(), 0
for record in lines("EVIDENCE"):
    if record["record"] == "segment":
        segments[record["segment"]] = record
    elif record["record"] == "guest":
        guests.add(record["guest"])
    elif record["record"] == "mappings":
        own = segments[record["segment"]]["frames"]
        for mapping in record["mappings"]:
            first = mapping["segment_page"]
            for page, (frame, present) in enumerate(zip(mapping["frames"], mapping["present"]), first):
                entries[frame] += 1
                differing += present and record["role"] in guests and frame != own[page]

print("one-frame-per-page:", differing, "entries of guests differ from CP's frames")
for name, segment in segments.items():
    wrong = sum(entries[f] != n for f, n in zip(segment["frames"], segment["map_counts"] or []) if f)
    print("books-close:", name, wrong, "frames are counted otherwise than by the kernel")
"""
