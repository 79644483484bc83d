"""Which objects are looked at: those that are named or, where none is, all that two processes or more map."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.account.maps import Vma
from dcss.account.targets import Object
from dcss.errors import ConfigError
from dcss.host.file_questions import FileQuestions
from dcss.inspect.common import MappedObject, mapped_objects
from dcss.inspect.image_data import own_runs
from dcss.inspect.opening import NoContentError, OpenedObject, UnreadableError, open_mapped, open_path
from dcss.suggest import suggestion

MOST_COMMON_BYTES = 1 << 30
"""Of an object that nobody named: larger ones are looked at where they are named."""


class Wanted(NamedTuple):
    """What was asked for: paths of files, and names of shared memory objects; nothing means all in common."""

    files: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()


IN_COMMON = Wanted()


class Chosen(NamedTuple):
    """An object to look at: what reports call it, what is open here, and which processes map it.

    `own_runs` are the pages that a file system in it keeps for itself, if it is an image of one;
    `written` says whether the processes write it as they go.
    """

    label: str
    opened: OpenedObject
    pids: tuple[int, ...]
    own_runs: tuple[tuple[int, int], ...]
    written: bool = False


@dataclass(slots=True)
class Selection:
    """The objects to look at, and why others that were asked for, or are in common, cannot be: by their names.

    `named` says whether they were asked for by name.
    """

    named: bool
    chosen: list[Chosen] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)

    def add(self, label: str, opened: OpenedObject, mapped: MappedObject | None) -> None:
        """Add an object, once however often it was named, by a label that no other has."""
        if any(each.opened.object == opened.object for each in self.chosen):
            return
        taken = {each.label for each in self.chosen}
        number = 2
        unique = label
        while unique in taken:
            unique, number = f"{label} ({number})", number + 1
        own = own_runs(opened.descriptor, -(-opened.size_bytes // PAGE_SIZE))
        pids, written = ((), False) if mapped is None else (mapped.pids, mapped.written)
        self.chosen.append(Chosen(unique, opened, pids, own, written))


def select(maps: dict[int, list[Vma]], wanted: Wanted, questions: FileQuestions, stack: ExitStack) -> Selection:
    """Open what is looked at; `stack` closes it. Raises ConfigError where something of that name is not there."""
    found = mapped_objects(maps)
    selection = Selection(named=wanted != IN_COMMON)
    if not selection.named:
        _select_common(selection, found, questions, stack)
        return selection
    by_object = {each.object: each for each in found}
    for path in wanted.files:
        _select_file(selection, path, by_object, questions, stack)
    for name in wanted.objects:
        _select_named(selection, name, found, questions, stack)
    return selection


def _select_common(
    selection: Selection, found: Sequence[MappedObject], questions: FileQuestions, stack: ExitStack
) -> None:
    for each in found:
        if len(each.mappings) < 2:
            continue
        opened = _open(selection, each, questions, stack)
        if opened is None:
            continue
        if opened.size_bytes > MOST_COMMON_BYTES:
            selection.passed_over[each.label] = f"{opened.size_bytes:,} bytes; name it to have it looked at"
        else:
            selection.add(each.label, opened, each)


def _select_file(
    selection: Selection, path: str, by_object: dict[Object, MappedObject], questions: FileQuestions, stack: ExitStack
) -> None:
    label = os.path.abspath(path)  # noqa: PTH100 - a path that stays as it was given, links and all
    if not os.path.lexists(path):
        raise ConfigError(f"--file: found nothing at {path}, wanted a file")
    try:
        opened = stack.enter_context(open_path(label, questions))
    except NoContentError as error:
        raise ConfigError(f"--file {path}: {error}, wanted a file with content") from error
    except UnreadableError as error:
        selection.unread[label] = str(error)
        return
    mapped = by_object.get(opened.object)
    selection.add(label, opened, mapped)


def _select_named(
    selection: Selection, name: str, found: Sequence[MappedObject], questions: FileQuestions, stack: ExitStack
) -> None:
    called = [each for each in found if each.is_called(name)]
    for each in called:
        opened = _open(selection, each, questions, stack)
        if opened is not None:
            selection.add(each.label, opened, each)
    if called:
        return
    # Nobody maps it, but copies of it may be found.
    path = f"/dev/shm/{name.removeprefix('/')}"
    if not os.path.lexists(path):
        shared = sorted({each.label for each in found if len(each.mappings) > 1})
        hint = suggestion(name, shared)
        raise ConfigError(f"--object: found no object {name} that these processes map, nor {path}{hint}")
    _select_file(selection, path, {}, questions, stack)


def _open(selection: Selection, each: MappedObject, questions: FileQuestions, stack: ExitStack) -> OpenedObject | None:
    """Open an object that processes map; where that cannot be, note why, and return None."""
    try:
        return stack.enter_context(open_mapped(each.object, list(each.mappings.items()), questions))
    except NoContentError:
        return None
    except UnreadableError as error:
        selection.unread[each.label] = str(error)
        return None
