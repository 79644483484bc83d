"""Mount options: what mount(8) and mount(2) take for themselves, and what they leave to the file system."""

from collections.abc import Iterable
from errno import EINVAL
from typing import NamedTuple

from dcss.abi.mount import FLAGS, VERBS, WITHOUT_EFFECT
from dcss.errors import KernelError

_TAKEN_BACK = {word: flag for flag, word in FLAGS.items()}


class MountOptions(NamedTuple):
    """Options by what they are for; `read_only` is None where neither ro nor rw was given, `data` in order."""

    read_only: bool | None = None
    verbs: frozenset[str] = frozenset()  # bind, remount
    flags: frozenset[str] = frozenset()  # nosuid, nodev, noexec, noatime, nodiratime
    silent: bool = False
    data: tuple[str, ...] = ()

    @property
    def mount_flags(self) -> frozenset[str]:
        """What a mount of its own keeps: the flags, and ro."""
        return self.flags | {"ro"} if self.read_only else self.flags


def parse_options(words: Iterable[str]) -> MountOptions:
    """Sort options; of two that contradict each other the later one holds, as for mount(8)."""
    read_only: bool | None = None
    verbs: set[str] = set()
    flags: set[str] = set()
    data: list[str] = []
    silent = False
    for word in words:
        if word in {"ro", "rw"}:
            read_only = word == "ro"
        elif word in VERBS:
            verbs.add(word)
        elif word in FLAGS:
            flags.add(word)
        elif word in _TAKEN_BACK:
            flags.discard(_TAKEN_BACK[word])
        elif word == "silent":
            silent = True
        elif word not in WITHOUT_EFFECT:
            data.append(word)
    return MountOptions(read_only, frozenset(verbs), frozenset(flags), silent, tuple(data))


def refuse_data(type_name: str, options: MountOptions) -> None:
    """Raise KernelError(EINVAL) for an option that is left to a file system which has none."""
    if options.data:
        raise KernelError(EINVAL, f"{type_name}: mount option {options.data[0]}: unknown")
