"""Machines that have huge pages for segments, and machines that have none, as prefixes of a command."""

from cli_support import Dcss

from dcss.host.mapping import HUGE_PAGE_BYTES

LARGE_BYTES = 4 * HUGE_PAGE_BYTES
_PROGRAM = "import ctypes, os, sys; ctypes.CDLL(None).prctl(41, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"


def without(dcss: Dcss) -> list[str]:
    """Return what runs a command without huge pages: prctl(PR_SET_THP_DISABLE), which children inherit."""
    return [dcss.command()[0], "-c", _PROGRAM]


def mounted_with(option: str) -> list[str]:
    """Return what runs a command with a /dev/shm of its own that has this option."""
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {option},mode=1777 none /dev/shm && exec "$@"', "sh"]


def make_large_tree(dcss: Dcss) -> None:
    """Put a large file, of which no two pages are alike, beside the small libraries of the tree."""
    pages = (number.to_bytes(2, "big") * 2048 for number in range(LARGE_BYTES // 4096))
    content = bytearray(b"".join(pages))
    content[::64] = bytes(range(256)) * (len(content) // (64 * 256))
    (dcss.home / "tree/usr/lib/large.so").write_bytes(content)


def segment(name: str, at: str, huge_pages: str = "", **keys: str) -> str:
    """Return a segment of the tree, as a line of YAML."""
    more = {**({"huge_pages": huge_pages} if huge_pages else {}), **keys}
    words = "".join(f", {key}: {value}" for key, value in more.items())
    return f"  - {{name: {name}, at: {at}, image: {{directory: tree}}{words}}}"
