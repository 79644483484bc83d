"""Prepare the fork server's heap for forks: each hole between its objects could cost every guest a page."""

_POOL_BYTES = 16384  # obmalloc.c of CPython 3.11: POOL_SIZE, the pool header, sizes of small blocks
_POOL_HEADER_BYTES = 48
_BLOCK_SIZES_BYTES = range(48, 513, 16)
_BYTES_HEAD_BYTES = 33  # of a bytes object, its closing NUL among them
_FRESH_BLOCKS = 8
_MAX_BLOCKS = 4096  # of one size
_filling: list[bytes] = []  # kept as long as the server lives


def fill_holes() -> None:
    """Fill the free blocks among small objects.

    Imports leave blocks free all over the heap. A guest would put its first objects there, one on each page, and copy
    the page; with the holes filled they go to fresh pools, one behind the other. Where the allocator is another one
    this only allocates a few objects.
    """
    for size_bytes in _BLOCK_SIZES_BYTES:
        expected, in_a_row = 0, 0
        for _ in range(_MAX_BLOCKS):
            _filling.append(bytes(size_bytes - _BYTES_HEAD_BYTES))
            address = id(_filling[-1])
            if address % _POOL_BYTES == _POOL_HEADER_BYTES:
                in_a_row = 1
            else:
                in_a_row = in_a_row + 1 if in_a_row and address == expected else 0
            # So many from a pool's beginning on: that pool was empty, so no other one has a hole.
            if in_a_row == _FRESH_BLOCKS:
                break
            expected = address + size_bytes
