"""Suggest the known name that a mistyped one probably stands for."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, whatever its case, or None where none is near."""
    import difflib  # a command that is not mistyped starts faster without

    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean X?`` for the known word nearest to `word`, or an empty text."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the same in brackets, to end a message with, or an empty text."""
    mends = did_you_mean(word, known)
    return f" ({mends})" if mends else ""
