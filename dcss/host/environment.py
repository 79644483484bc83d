"""Variables of the environment by which libraries are set up."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def variables_set(**variables: str) -> Iterator[None]:
    """Set those of `variables` that are not set, and remove them again with the block: no program inherits them."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
