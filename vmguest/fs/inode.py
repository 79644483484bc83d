"""What the mode of an inode says of its type; for inodes that file systems without a disk make."""

import stat


class TypedByMode:
    """`is_dir`, `is_symlink` and `is_regular`, from the type bits of `mode`."""

    __slots__ = ()
    mode: int

    @property
    def is_dir(self) -> bool:
        """S_ISDIR."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_symlink(self) -> bool:
        """S_ISLNK."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_regular(self) -> bool:
        """S_ISREG."""
        return stat.S_ISREG(self.mode)
