"""Who a process is: real, effective and saved ids, and capabilities (kernel/cred.c, security/commoncap.c)."""

from errno import EPERM
from typing import Final, NamedTuple

from dcss.errors import KernelError

KEEP: Final = 0xFFFF_FFFF  # an id that setresuid(2) leaves as it is
LAST_CAPABILITY: Final = 40  # CAP_CHECKPOINT_RESTORE
ALL: Final = (1 << LAST_CAPABILITY + 1) - 1
CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_CHROOT = 1, 5, 6, 7, 8, 18


class Ids(NamedTuple):
    """The three ids of a user or group; files see the effective one."""

    real: int = 0
    effective: int = 0
    saved: int = 0

    def become(self, new: int, *, powerful: bool) -> "Ids":
        """Do setuid(2): all three with the capability, else one of its own. Raises KernelError(EPERM)."""
        if powerful:
            return Ids(new, new, new)
        if new not in {self.real, self.saved}:
            raise KernelError(EPERM, f"id {self.effective} may not become {new}")
        return self._replace(effective=new)

    def exchange(self, real: int, effective: int, *, powerful: bool) -> "Ids":
        """Do setreuid(2). Raises KernelError(EPERM)."""
        if not powerful and (
            real not in {KEEP, self.real, self.effective}
            or effective not in {KEEP, self.real, self.effective, self.saved}
        ):
            raise KernelError(EPERM, f"id {self.effective} may not become {real}, {effective}")
        after = self._chosen(real, effective, KEEP)
        if real != KEEP or effective not in {KEEP, self.real}:
            after = after._replace(saved=after.effective)
        return after

    def set(self, real: int, effective: int, saved: int, *, powerful: bool) -> "Ids":
        """Do setresuid(2). Raises KernelError(EPERM)."""
        if not powerful and not {real, effective, saved} <= {KEEP, *self}:
            raise KernelError(EPERM, f"id {self.effective} may not become {real}, {effective}, {saved}")
        return self._chosen(real, effective, saved)

    def _chosen(self, *wanted: int) -> "Ids":
        return Ids(*(old if new == KEEP else new for old, new in zip(self, wanted, strict=True)))


class Capabilities(NamedTuple):
    """Sets of capabilities, as bits."""

    permitted: int = ALL
    effective: int = ALL
    inheritable: int = 0
    bounding: int = ALL
    ambient: int = 0

    def changed(self, permitted: int, effective: int, inheritable: int) -> "Capabilities":
        """Do capset(2). Raises KernelError(EPERM) for more than it may have."""
        gained = inheritable & ~(self.inheritable | (self.bounding if self.has(CAP_SETPCAP) else self.permitted))
        if permitted & ~self.permitted or effective & ~permitted or gained:
            raise KernelError(EPERM, f"capabilities {permitted:#x}, {effective:#x}, {inheritable:#x}: not its own")
        ambient = self.ambient & permitted & inheritable
        return Capabilities(permitted, effective, inheritable, self.bounding, ambient)

    def has(self, number: int) -> bool:
        """Return whether it has one now."""
        return bool(self.effective >> number & 1)


class Identity(NamedTuple):
    """Users, groups and capabilities of a process. `keeps` is PR_SET_KEEPCAPS."""

    users: Ids = Ids()
    groups: Ids = Ids()
    capabilities: Capabilities = Capabilities()
    keeps: bool = False
    no_new_privileges: bool = False

    def with_users(self, users: Ids) -> "Identity":
        """Change the user, and with it what the process may do (cap_emulate_setxuid)."""
        before, found = self.users, self.capabilities
        if 0 in before and 0 not in users:
            found = found._replace(ambient=0)
            if not self.keeps:
                found = found._replace(permitted=0, effective=0)
        if before.effective == 0 and users.effective != 0:
            found = found._replace(effective=0)
        elif before.effective != 0 and users.effective == 0:
            found = found._replace(effective=found.permitted)
        return self._replace(users=users, capabilities=found)

    def executed(self, owner: int | None, group: int | None) -> "Identity":
        """Return who another program is run by: set-id bits may give an owner and a group (bprm_fill_uid)."""
        users = self.users if owner is None else self.users._replace(effective=owner)
        groups = self.groups if group is None else self.groups._replace(effective=group)
        users = users._replace(saved=users.effective)
        groups = groups._replace(saved=groups.effective)
        has = self.capabilities
        ambient = has.ambient if owner is None and group is None else 0
        if 0 in {users.real, users.effective}:
            permitted = has.inheritable | has.bounding
            effective = permitted if users.effective == 0 else ambient
            ambient = 0
        else:
            permitted = effective = ambient
        after = has._replace(permitted=permitted, effective=effective, ambient=ambient)
        return Identity(users, groups, after, no_new_privileges=self.no_new_privileges)

    @property
    def is_powerful(self) -> bool:
        """Whether it may do what root may to files, and whatever else is asked as one here."""
        return self.capabilities.has(CAP_DAC_OVERRIDE)

    @property
    def is_raised(self) -> bool:
        """Whether set-id bits made it another one than who started it (AT_SECURE)."""
        return self.users.real != self.users.effective or self.groups.real != self.groups.effective


ROOT: Final = Identity()
