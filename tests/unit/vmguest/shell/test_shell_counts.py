"""wc counts what lies over the borders of the pieces that a file comes in."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vmguest.shell.commands.contents import _counts


class Pieces:
    """A file that sendfile hands out in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.size_bytes = sum(map(len, pieces))

    def sendfile(self, position: int, count: int, actor: Any) -> int:
        assert (position, count) == (0, self.size_bytes)
        return sum(actor(memoryview(piece)) for piece in self._pieces)


@given(st.lists(st.text("ab \n", min_size=1, max_size=4).map(str.encode), max_size=6))
def test_pieces_are_counted_as_one_text(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    found = _counts(Pieces(pieces), ["l", "w", "c"])  # type: ignore[arg-type]
    assert found == {"l": whole.count(b"\n"), "w": len(whole.split()), "c": len(whole)}
