"""Mount options of tmpfs (mm/shmem.c): how large it may become, and whose its root is."""

from collections.abc import Iterable, Iterator
from errno import EINVAL
from typing import NamedTuple

from dcss.abi.mount import TMPFS
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem

_ROOT_MODE = 0o1777
_UNITS = {"k": 10, "m": 20, "g": 30}


class TmpfsOptions(NamedTuple):
    """What tmpfs is mounted with; None is no limit but the guest's real storage."""

    mode: int = _ROOT_MODE
    uid: int = 0
    gid: int = 0
    limit_pages: int | None = None
    limit_inodes: int | None = None

    def shown(self) -> Iterator[str]:
        """Yield the options as /proc/mounts has them, without those that every tmpfs has."""
        if self.limit_pages is not None:
            yield f"size={self.limit_pages * PAGE_SIZE >> 10}k"
        if self.limit_inodes is not None:
            yield f"nr_inodes={self.limit_inodes}"
        if self.mode != _ROOT_MODE:
            yield f"mode={self.mode:03o}"
        if self.uid:
            yield f"uid={self.uid}"
        if self.gid:
            yield f"gid={self.gid}"


def parse_tmpfs_options(words: Iterable[str], storage_bytes: int, before: TmpfsOptions | None = None) -> TmpfsOptions:
    """Return what options say; those that are not given are as `before`. Raises KernelError(EINVAL) for others."""
    options = before or TmpfsOptions()
    for word in words:
        if not TMPFS.fullmatch(word):
            raise KernelError(EINVAL, f"tmpfs: mount option {word}: unknown, or not a number that it takes")
        key, _, value = word.partition("=")
        match key:
            case "mode":
                options = options._replace(mode=int(value, 8) & 0o7777)
            case "uid":
                options = options._replace(uid=int(value))
            case "gid":
                options = options._replace(gid=int(value))
            case "size":
                pages = hostmem.pages(_number(value, storage_bytes))
                options = options._replace(limit_pages=pages or None)
            case "nr_blocks":
                options = options._replace(limit_pages=_number(value) or None)
            case "nr_inodes":
                options = options._replace(limit_inodes=_number(value) or None)
    return options


def _number(text: str, whole: int = 0) -> int:
    """Return a number with a unit, or per cent of a whole."""
    if text.endswith("%"):
        return whole * int(text[:-1]) // 100
    unit = _UNITS.get(text[-1].lower())
    return int(text) if unit is None else int(text[:-1]) << unit
