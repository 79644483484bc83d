"""How far a path may lead, for opens that say so (`struct open_how`, fs/namei.c)."""

from errno import ELOOP, EXDEV
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.mount import Dentry

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
RESOLVE_CACHED: Final = 0x20  # wait for no disk: nothing here does
RESOLVE_ALL: Final = 0x3F


class Scope:
    """What a walk must not leave. `top` is where its path begins."""

    def __init__(self, top: Dentry, flags: int) -> None:
        self._top, self._flags = top, flags

    def begin(self, root: Dentry) -> Dentry:
        """Return where an absolute path begins. Raises KernelError(EXDEV) where none may be."""
        if self._flags & RESOLVE_BENEATH:
            raise KernelError(EXDEV, "an absolute path leads out of where it must stay")
        return self._top if self._flags & RESOLVE_IN_ROOT else root

    def stays(self, place: Dentry) -> bool:
        """Return whether `..` leads from a place to itself. Raises KernelError(EXDEV) where it would lead out."""
        if not self._flags & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
            return False
        at_top = place.is_at(self._top)
        if at_top and self._flags & RESOLVE_BENEATH:
            raise KernelError(EXDEV, "'..' leads out of where the path must stay")
        return at_top

    def check_link(self, *, magic: bool) -> None:
        """Raise KernelError for a link that must not be followed: ELOOP, or EXDEV for one that leads anywhere."""
        if self._flags & RESOLVE_NO_SYMLINKS or (magic and self._flags & RESOLVE_NO_MAGICLINKS):
            raise KernelError(ELOOP, "no link may be followed")
        if magic and self._flags & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
            raise KernelError(EXDEV, "a link leads out of where the path must stay")

    def check_step(self, before: Dentry, after: Dentry) -> None:
        """Raise KernelError(EXDEV) where a step crosses to another mount, and none may."""
        if self._flags & RESOLVE_NO_XDEV and before.mount is not after.mount:
            raise KernelError(EXDEV, "the path crosses to another mount")
