"""Likely causes of a verdict that is not the wanted one: what the plan lacks, and guests that failed."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from dcss.config.names import mounted_segments
from dcss.config.plan import GuestPlan, MountPlan, Step
from dcss.results import GuestAccount, MountAccess


def plan_hints(guests: Iterable[GuestPlan]) -> tuple[str, ...]:
    """Return a line for each entry of `guests:` and each thing in it that works against its `expect:`."""
    hints: list[str] = []
    for where, entry in groupby(guests, lambda guest: guest.where):
        members = list(entry)
        names = joined_names([guest.name for guest in members])
        hints += (f"{where}: {names}: {hint}" for hint in _hints(members[0]))
    return tuple(hints)


def failure_hint(failed: Sequence[str], guests: int) -> tuple[str, ...]:
    """Return a line about guests that failed: the verdict does not cover what they would have done."""
    if not failed:
        return ()
    verb = "is" if len(failed) == 1 else "are"
    return (f"{joined_names(failed)}: failed, {len(failed)} of {guests} guests, and {verb} not in the verdict",)


def reason_hints(failures: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
    """Return a line for each entry of `guests:` and each reason that guests of it failed for.

    A failure is where the entry stands, the guest's name, and the reason.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for where, name, reason in failures:
        if reason:
            names.setdefault((where, reason), []).append(name)
    return tuple(f"{where}: {joined_names(failed)}: {reason}" for (where, reason), failed in names.items())


def fallbacks(guests: Iterable[GuestAccount]) -> tuple[str, ...]:
    """Return a line for each mount whose files are not reached in place, although that was asked for."""
    found: dict[MountAccess, list[str]] = {}
    for guest in guests:
        for mount in guest.mounts:
            if mount.fell_back:
                found.setdefault(mount, []).append(guest.name)
    return tuple(
        f"{joined_names(names)}: {mount.device} is mounted at {mount.at} with {mount.wanted}, but its files are reached"
        f" by {mount.mode}: the device cannot be addressed, or was mounted so before (wanted mode: {mount.mode}, or a"
        " segment; mode: mtd maps a disk)"
        for mount, names in found.items()
    )


def downgrades(guests: Iterable[GuestAccount]) -> tuple[str, ...]:
    """Return a line for each reason why virtual machines run without KVM, although it was tried."""
    found: dict[str, list[str]] = {}
    for guest in guests:
        if guest.accelerator_reason:
            found.setdefault(guest.accelerator_reason, []).append(guest.name)
    return tuple(
        f"{joined_names(names)}: executed by QEMU's translator (tcg), many times slower than with KVM: {reason}"
        for reason, names in found.items()
    )


def joined_names(names: Sequence[str]) -> str:
    """Return `guest A`, `guests A and B`, or `guests A, B and 98 more`."""
    if len(names) <= 2:
        return f"guest{'s' if len(names) == 2 else ''} {' and '.join(names)}"
    return f"guests {names[0]}, {names[1]} and {len(names) - 2} more"


def _hints(guest: GuestPlan) -> Iterator[str]:
    mounts = [(f"mounts[{number}]", mount) for number, mount in enumerate(guest.mounts)]
    mounts += [found for number, step in enumerate(guest.run) for found in _mount_of(number, step)]
    for field, mount in mounts:
        segments = _segments(guest, mount.device)
        if segments and guest.expect == "shared" and not mount.in_place:
            given, wanted = _way(mount, without=True)
            yield (
                f"{field}: {segments} is mounted at {mount.at} {given}, so its files are copied to the guest's page"
                f" cache; wanted {wanted}, or expect: copies"
            )
        elif segments and guest.expect == "copies" and mount.in_place:
            given, wanted = _way(mount, without=False)
            yield (
                f"{field}: {segments} is mounted at {mount.at} {given}, so its files are mapped in place;"
                f" wanted {wanted}, or expect: shared"
            )
    if guest.expect == "shared" and not any(step.verb in {"map", "exec"} for step in guest.run):
        yield "run: maps no file, so nothing can be shared; wanted a step such as map: /usr/lib/**, or expect: nothing"


def _way(mount: MountPlan, *, without: bool) -> tuple[str, str]:
    """Return what a mount says of how files are reached, and what it should say: in place if it is `without` that."""
    if mount.mode is not None:
        return f"by mode: {mount.mode}", "mode: xip or mtd" if without else "mode: page-cache or ramdisk"
    shown = ", ".join(mount.options)
    if without:
        return f"without xip (options: [{shown}])", f"options: [{', '.join([*mount.options, 'xip'])}]"
    return f"with options: [{shown}]", "no xip or dax"


def _segments(guest: GuestPlan, device: str) -> str:
    """Return the segments of a device dcssblkN as text, nothing for another device."""
    segments = mounted_segments(guest.dcssblk, device)
    return f"{device} ({', '.join(segments)})" if segments else ""


def _mount_of(number: int, step: Step) -> Iterator[tuple[str, MountPlan]]:
    """Yield the field of an exec step that mounts something, and what it mounts."""
    if step.verb != "exec":
        return
    words = _words(step.argument)
    if not words or words[0].rpartition("/")[2] != "mount" or any("remount" in word for word in words):
        return
    options: list[str] = []
    others: list[str] = []
    rest = iter(words[1:])
    for word in rest:
        if word == "-o":
            options += next(rest, "").split(",")
        elif word.startswith("-o"):
            options += word[2:].split(",")
        elif word == "-t":
            next(rest, None)
        elif not word.startswith("-"):
            others.append(word)
    if len(others) == 2:
        yield f"run[{number}]", MountPlan(others[0], others[1], tuple(options))


def _words(argument: str | tuple[str, ...]) -> Sequence[str]:
    if not isinstance(argument, str):
        return argument
    try:
        return shlex.split(argument)
    except ValueError:  # an unclosed quote, which the guest's shell refuses too
        return ()
