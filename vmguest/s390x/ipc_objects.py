"""What the three kinds of System V's objects have in common (ipc/util.c): ids, keys, owners and modes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from errno import EACCES, EEXIST, EINVAL, ENOENT, EPERM
from itertools import count
from time import time
from typing import ClassVar, Final, Generic, TypeVar

from dcss.errors import KernelError
from vmguest.credentials import Credentials

IPC_PRIVATE: Final = 0
IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
MAY_READ, MAY_CHANGE = 4, 2
_MODE: Final = 0o777


@dataclass(slots=True, eq=False)
class IpcObject:
    """One object; `changed` is when it was made or IPC_SET, in seconds since 1970."""

    kind: ClassVar[str] = "object"

    number: int
    key: int
    mode: int
    owner: Credentials
    creator: Credentials
    changed: int = field(default_factory=lambda: int(time()), kw_only=True)

    def check(self, user: Credentials, wanted: int) -> None:
        """Raise KernelError(EACCES) where a user may not read or change it (ipcperms)."""
        if user.uid in {self.owner.uid, self.creator.uid}:
            shift = 6
        else:
            shift = 3 if user.in_group(self.owner.gid) or user.in_group(self.creator.gid) else 0
        if not user.privileged and wanted & ~(self.mode >> shift):
            raise KernelError(EACCES, f"{self.kind} {self.number}: mode {self.mode:#o}")

    def check_owner(self, user: Credentials) -> None:
        """Raise KernelError(EPERM) unless a user may change or remove it."""
        if not user.privileged and user.uid not in {self.owner.uid, self.creator.uid}:
            raise KernelError(EPERM, f"{self.kind} {self.number}: user {user.uid} does not own it")

    def give(self, uid: int, gid: int, mode: int) -> None:
        """Change its owner and mode (IPC_SET)."""
        self.owner = self.owner._replace(uid=uid, gid=gid)
        self.mode, self.changed = mode & _MODE, int(time())


Object = TypeVar("Object", bound=IpcObject)


class IpcTable(Generic[Object]):
    """The objects of one kind that a guest has. No id is given twice."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._objects: dict[int, Object] = {}
        self._numbers = count()

    def __iter__(self) -> Iterator[Object]:
        return iter(tuple(self._objects.values()))

    def __contains__(self, found: Object) -> bool:
        return self._objects.get(found.number) is found

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def highest(self) -> int:
        """The highest id in use, 0 without any: what IPC_INFO returns."""
        return max(self._objects, default=0)

    def get(
        self, user: Credentials, key: int, flags: int, fits: Callable[[Object], None], make: Callable[[int], Object]
    ) -> int:
        """Return the id of a key's object, or of a new one that `make` makes with its id.

        `fits` raises for an object that is not what is asked for. Raises KernelError: ENOENT, EEXIST, EACCES.
        """
        found = None
        if key != IPC_PRIVATE:
            found = next((each for each in self._objects.values() if each.key == key), None)
        if found is not None:
            if flags & IPC_CREAT and flags & IPC_EXCL:
                raise KernelError(EEXIST, f"{self._kind} of key {key:#x}: is there")
            fits(found)
            found.check(user, flags >> 6 & 6 | flags >> 3 & 6 | flags & 6)
            return found.number
        if key != IPC_PRIVATE and not flags & IPC_CREAT:
            raise KernelError(ENOENT, f"{self._kind} of key {key:#x}: there is none")
        made = make(next(self._numbers))
        self._objects[made.number] = made
        return made.number

    def find(self, number: int) -> Object:
        """Return an object by its id. Raises KernelError(EINVAL)."""
        found = self._objects.get(number)
        if found is None:
            raise KernelError(EINVAL, f"{self._kind} {number}: there is none")
        return found

    def remove(self, number: int) -> None:
        """Forget an object."""
        del self._objects[number]
