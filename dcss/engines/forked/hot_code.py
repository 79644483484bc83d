"""Put the code that guests run into pages of its own: a call counts references in a code object, which copies its page.

Imports leave the code of one module behind that of another one, most of which no guest calls. Where code that is
called lies together, a guest copies a page for several functions, instead of one for each.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType

from dcss.engines.forked.heap import fill_holes

_functions: dict[int, list[FunctionType]] = {}  # by the number of their code: looking for one reads no other


def note_functions() -> None:
    """Note which function has which code, before the heap is frozen: frozen objects cannot be listed."""
    _functions.clear()
    for each in gc.get_objects():
        if type(each) is FunctionType:
            _functions.setdefault(id(each.__code__), []).append(each)


@contextmanager
def gathered() -> Iterator[None]:
    """Copy the code of all functions that this thread calls meanwhile, in the order of their first calls.

    The copies are not specialized (PEP 659): what was called has to run again, until that is done.
    """
    called: dict[int, CodeType] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            code = frame.f_code
            called.setdefault(id(code), code)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
    fill_holes()
    _move(called)


def _move(called: dict[int, CodeType]) -> None:
    for number, code in called.items():
        functions = _functions.pop(number, None)
        if functions is None:
            continue  # of a function that was made meanwhile
        copy = _copy(code, called)
        for function in functions:
            function.__code__ = copy
        _functions[id(copy)] = functions


def _copy(code: CodeType, called: dict[int, CodeType]) -> CodeType:
    """Return a copy of a code object, and of those called ones within it that are of functions that it makes."""
    within = (_copy(each, called) if type(each) is CodeType and id(each) in called else each for each in code.co_consts)
    return code.replace(co_consts=tuple(within))
