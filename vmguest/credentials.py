"""Who a task is: its user and groups, and what they may do (fs/namei.c's generic_permission)."""

from typing import NamedTuple

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4


class Credentials(NamedTuple):
    """The user and groups that files see (fsuid, fsgid); user 0 may do everything."""

    uid: int = 0
    gid: int = 0
    groups: frozenset[int] = frozenset()
    umask: int = 0o022

    @property
    def privileged(self) -> bool:
        """Whether it is root, which has all capabilities."""
        return self.uid == 0

    def in_group(self, gid: int) -> bool:
        """Whether a group is its own or one of the others that it has."""
        return gid == self.gid or gid in self.groups


ROOT = Credentials()
