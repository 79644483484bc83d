"""What the keys of `dcss top` make of what the user has chosen to see."""

from dataclasses import replace

from dcss.report.top_view import TopChoice, TopSort, scrolled
from dcss.results import SystemActivity

_SORTS: dict[str, TopSort] = {"p": "private", "g": "growth", "c": "calls", "r": "restarts", "n": "guest"}


def changed(look: SystemActivity, choice: TopChoice, key: str, rows: int) -> TopChoice:
    """Return the choice after a key, on a screen of so many rows; other keys than those of the help do nothing."""
    if choice.typed is not None:
        return _typed(choice, choice.typed, key)
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -rows // 2, "page-down": rows // 2}
    if key in steps:
        choice = scrolled(look, choice, steps[key], rows)
    elif key in _SORTS:
        choice = replace(choice, sort=_SORTS[key], ascending=False, first=0)
    elif key == "o":
        choice = replace(choice, ascending=not choice.ascending)
    elif key == "/":
        choice = replace(choice, typed="", first=0)
    elif key == "escape":
        choice = replace(choice, wanted="")
    elif key == "f":
        choice = replace(choice, folded=not choice.folded, first=0)
    elif key == "s":
        choice = replace(choice, with_segments=not choice.with_segments)
    return choice


def _typed(choice: TopChoice, typed: str, key: str) -> TopChoice:
    """Return the choice after a key of a filter that is being typed."""
    match key:
        case "enter":
            return replace(choice, wanted=typed, typed=None)
        case "escape":
            return replace(choice, typed=None)
        case "backspace":
            return replace(choice, typed=typed[:-1])
    return replace(choice, typed=typed + key) if len(key) == 1 else choice
