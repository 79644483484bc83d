"""What a process freed is overwritten, or left, as it was told."""

import os
import subprocess
import sys

from cli_support import SOURCE
from needs_support import needs

from dcss.host.libc import OVERWRITE_FREED_MEMORY

# Frees 5000 random bytes and looks for the middle of them where they were: malloc keeps what it needs at their ends.
PROGRAM = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from dcss.host.libc import leave_freed_memory

def remains():
    data = os.urandom(5000)
    middle, address = data[1000:4000], id(data) + 1000 + bytes.__basicsize__ - 1
    behind = os.urandom(5000)  # the end of the heap is not next to it
    seen = ctypes.create_string_buffer(3000)  # before the data is freed, or it would get their place
    del data
    ctypes.memmove(seen, address, 3000)
    return seen.raw == middle

before = remains()
leave_freed_memory()
print(before, remains())
"""


@needs("glibc")
def test_freed_memory_is_overwritten_until_it_is_left() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, SOURCE],
        env={**os.environ, **OVERWRITE_FREED_MEMORY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False True\n"
