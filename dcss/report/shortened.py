"""Long lists: the first of their entries, and what is said of the rest."""

from collections.abc import Sequence
from typing import TypeVar

from dcss.report.blocks import Note
from dcss.report.units import fmt_count

Item = TypeVar("Item")


def shortened(
    items: Sequence[Item], most: int, one: str, *, show_all: bool, indent: int = 0
) -> tuple[Sequence[Item], list[Note]]:
    """Return the first `most` items, or all, and a note about those that are left out; `one` is what an item is."""
    shown = items if show_all else items[:most]
    left_out = len(items) - len(shown)
    notes = [Note(f"and {fmt_count(left_out, f'more {one}')} (-v shows all)", indent=indent)] if left_out else []
    return shown, notes
