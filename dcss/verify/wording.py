"""How claims word their details: numbers with their noun, and the first few of many findings."""

from collections.abc import Sequence

_SHOWN = 4


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 page` or `2,000 pages`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def file_label(segment: str, path: str) -> str:
    """Return what messages call a file: an object that is a file itself is called by its path alone."""
    return path if segment == path else f"{segment}:{path}"


def first_few(findings: Sequence[str]) -> str:
    """Return the first four findings, and how many more there are."""
    more = len(findings) - _SHOWN
    return "; ".join([*findings[:_SHOWN], *([f"and {more:,} more"] if more > 0 else [])])
