"""Who a task is: its user and groups, and what they may do (fs/namei.c's generic_permission)."""

from typing import NamedTuple

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4


class Credentials(NamedTuple):
    """The user and groups that files see (fsuid, fsgid); user 0 may do everything, unless it gave that up."""

    uid: int = 0
    gid: int = 0
    groups: frozenset[int] = frozenset()
    umask: int = 0o022
    powerful: bool | None = None  # whether it has root's capabilities; None: if it is user 0

    @property
    def privileged(self) -> bool:
        """Whether it may do what root may."""
        return self.uid == 0 if self.powerful is None else self.powerful

    def in_group(self, gid: int) -> bool:
        """Whether a group is its own or one of the others that it has."""
        return gid == self.gid or gid in self.groups


ROOT = Credentials()
