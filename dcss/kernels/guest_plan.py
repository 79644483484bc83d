"""What a Linux guest is to do, as calls of the functions of its /init: devices, file systems, steps."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

from dcss.config.plan import GuestPlan, MountPlan, Step
from dcss.errors import ConfigError

FIRST_PMEM_SLOT: Final = 0x10  # of the PCI bus: where an x86_64 machine has the first of its virtio-pmem devices
_WILDCARDS = re.compile(r"[*?\[]")
_SPECIAL = re.compile(r"[.\\*^$\[]")  # in a basic regular expression (regex(7))


def plan_script(plan: GuestPlan) -> str:
    """Return the shell script that /init reads. Raises ConfigError for what no Linux guest can do."""
    lines = [
        *_devices(plan),
        *(_mount(mount) for mount in plan.mounts),
        *(line for step in plan.run for line in _step(step, plan)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _devices(plan: GuestPlan) -> Iterator[str]:
    for number, device in enumerate(plan.dcssblk):
        given = ("pmem", f"{FIRST_PMEM_SLOT + number:x}", device, str(number))
        yield _call(*given) if plan.has_devices else _call("device", device)


def _call(*words: str) -> str:
    return shlex.join(words)


def _mount(mount: MountPlan) -> str:
    options = tuple("dax" if option == "xip" else option for option in mount.kernel_options)
    wanted = "dax" if mount.in_place else "page-cache"
    return _call("file_system", mount.device, mount.at, mount.type, ",".join(options), wanted)


def _step(step: Step, plan: GuestPlan) -> Iterator[str]:
    match step:
        case Step("map", str(pattern)):
            yield _call("run", "map", *find_words(pattern))
        case Step("read", str(pattern)):
            yield _call("run", "read_all", *find_words(pattern))
        case Step("load", str(name)):
            yield _call("run", "device", name)
        case Step("exec", tuple(words), background, environment):
            named = tuple(f"{name}={value}" for name, value in environment)
            yield _call("run", "background" if background else "execute", *(("env", *named) if named else ()), *words)
        case _:
            raise ConfigError(f"{plan.where}: run: found {step}, wanted a step that engine linux knows")


def find_words(pattern: str) -> tuple[str, str]:
    """Return where find(1) begins to look for the files of a pattern, and the expression that their paths match.

    `**` is any number of directories. The expression is a basic one, and matches the whole path.
    """
    names = [name for name in pattern.split("/") if name]
    literal = next((index for index, name in enumerate(names) if _WILDCARDS.search(name)), len(names))
    start = "/" + "/".join(names[:literal])
    if names and names[-1] == "**":
        names.append("*")
    expression = ""
    for name in names:
        expression += r"\(/[^/]*\)*" if name == "**" else "/" + _name_expression(name)
    return start, expression


def _name_expression(name: str) -> str:
    """Return the basic regular expression of one name of a pattern."""
    parts = re.split(r"(\*|\?|\[!?\]?[^]]*\])", name)
    return "".join(
        {"*": "[^/]*", "?": "[^/]"}.get(part) or (_bracket(part) if index % 2 else _SPECIAL.sub(r"\\\g<0>", part))
        for index, part in enumerate(parts)
    )


def _bracket(part: str) -> str:
    return "[^" + part[2:] if part.startswith("[!") else part
