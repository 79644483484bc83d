"""Types of values in the YAML: each checks one value by itself and has its JSON Schema."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from dcss.abi.extmem import MAX_DCSS_ADDR, MAX_DCSS_BYTES, PageRange, SegmentName
from dcss.abi.page import PAGE_SIZE
from dcss.config.problems import WrongValueError
from dcss.config.size import parse_size

SYSTEM_NAME = r"[a-z0-9][a-z0-9-]{0,30}"  # it goes into the names of shared memory, directories and sockets
HOST_NAME = r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}"  # Dask calls a worker by its address where nobody names it
DISK_NAME = "[a-z][a-z0-9_-]{0,30}"  # DISK_NAME_LEN of Linux, with the NUL
_DRIVERS_NAMES = r"null|(dcssblk|ram|mtdblock)\d*"
PACKAGE = r"[a-z0-9][a-z0-9.+-]*[a-z0-9+](=[A-Za-z0-9.+:~-]+)?"
SUITE = r"[a-z0-9][A-Za-z0-9./-]*"
ARCHITECTURE = r"[a-z0-9][a-z0-9-]*"
MIRROR = r"(https?://|file:/)[!-~]+"
PRIVILEGE = "[A-G]{1,7}"  # IBM's classes; CP's commands here know E and G

_NAME_SCHEMA = {"type": "string", "pattern": "^[A-Z0-9@#$]{1,8}$"}
_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": "^(0[xX][0-9A-Fa-f]+|[0-9]+) ?([KMGTkmgt](iB)?)?$"},
    ]
}


def _given(value: object) -> object:
    if value is None:
        raise WrongValueError("a value (or leave the key out)")
    return value


def _name(value: str) -> str:
    try:
        SegmentName(value)
    except ValueError as error:
        mends = "in upper case" if value != value.upper() else ""
        raise WrongValueError("1 to 8 characters of A-Z 0-9 @ # $", mends) from error
    return value


def _range(value: str) -> str:
    try:
        PageRange.parse(value)
    except ValueError as error:
        raise WrongValueError(str(error).rpartition("wanted ")[2]) from error
    return value


def _pages(value: object) -> int:
    size_bytes = parse_size(value)
    if size_bytes == 0 or size_bytes % PAGE_SIZE:
        raise WrongValueError(f"a multiple of {PAGE_SIZE} above 0")
    return size_bytes


def _storage(value: object) -> int:
    storage_bytes = _pages(value)
    if storage_bytes > MAX_DCSS_ADDR:
        raise WrongValueError(f"at most {MAX_DCSS_ADDR >> 30}G")
    return storage_bytes


def _segment_size(value: object) -> int | None:
    if value == "auto":
        return None
    size_bytes = _pages(value)
    if size_bytes > MAX_DCSS_BYTES:
        raise WrongValueError(f"at most {MAX_DCSS_BYTES >> 20}M")
    return size_bytes


def _address(value: object) -> int:
    address = _pages(value)
    if address >= MAX_DCSS_ADDR:
        raise WrongValueError(f"an address below {MAX_DCSS_ADDR:#x}")
    return address


def _text(value: str) -> str:
    if not value or "\0" in value:
        raise WrongValueError("text that is not empty and has no NUL in it")
    return value


def _words(value: object) -> object:
    """Return the words of a command: a text is a line for the shell."""
    return ["sh", "-c", _text(value)] if isinstance(value, str) else value


def _guest_path(value: str) -> str:
    if not PurePosixPath(_text(value)).is_absolute():
        raise WrongValueError("a path from the guest's root, such as /usr/lib")
    return value


def _option(value: str) -> str:
    if not _text(value).isprintable() or "," in value or " " in value:
        raise WrongValueError("one mount option", "write several as a list: [ro, xip]")
    return value


def _disk_name(value: str) -> str:
    if re.fullmatch(DISK_NAME, value) is None:
        raise WrongValueError("1 to 31 characters of a-z, 0-9, - and _, the first a letter", "such as vdb")
    if re.fullmatch(_DRIVERS_NAMES, value):
        raise WrongValueError("a name that no driver gives: not null, dcssblkN, ramN or mtdblockN", "such as vdb")
    return value


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name, content in value.items():
        if not name or "=" in name or "\0" in name + content:
            raise WrongValueError("names of variables, without = in them, and texts without NUL")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise WrongValueError("a number of seconds above 0")
    return float(value)


def _host_names(value: object) -> object:
    if value == "all":
        return []
    if value == []:
        raise WrongValueError("all, or at least one host")
    return value


def _matcher(pattern: str, wanted: str) -> Callable[[str], str]:
    """Return the check that a text matches a pattern as a whole; messages call that `wanted`."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value, re.ASCII) is None:
            raise WrongValueError(wanted)
        return value

    return check


def _restart(value: object) -> object:
    return "no" if value is False else value  # YAML 1.1 reads an unquoted no as false


def _privilege(value: str) -> str:
    if re.fullmatch(PRIVILEGE, value) is None or len(set(value)) < len(value):
        raise WrongValueError("CP's privilege classes, each a letter of A to G once, such as EG")
    return value


def _system_name(value: str) -> str:
    if re.fullmatch(SYSTEM_NAME, value) is None:
        raise WrongValueError("1 to 31 characters of a-z 0-9 and -, the first no -")
    return value


# A key without a value is None in YAML, and no key means that: GIVEN refuses it where None is the default.
GIVEN = BeforeValidator(_given)
PackageName = Annotated[
    str,
    AfterValidator(_matcher(PACKAGE, "the name of a package, such as bash, or NAME=VERSION")),
    WithJsonSchema({"type": "string", "pattern": f"^{PACKAGE}$"}),
]
Suite = Annotated[
    str,
    AfterValidator(_matcher(SUITE, "the name of a release, such as bookworm")),
    WithJsonSchema({"type": "string", "pattern": f"^{SUITE}$"}),
]
Architecture = Annotated[
    str,
    AfterValidator(_matcher(ARCHITECTURE, "an architecture as Debian calls it, such as s390x or amd64")),
    WithJsonSchema({"type": "string", "pattern": f"^{ARCHITECTURE}$", "default": "s390x"}),
]
Mirror = Annotated[
    str,
    AfterValidator(_matcher(MIRROR, "the address of an archive: http://, https:// or file:/ and no spaces")),
    WithJsonSchema({"type": "string", "pattern": f"^{MIRROR}$"}),
]
Option = Annotated[str, AfterValidator(_option)]
Text = Annotated[str, AfterValidator(_text)]
GuestPath = Annotated[str, AfterValidator(_guest_path)]
Words = Annotated[
    list[Text],
    Field(min_length=1),
    BeforeValidator(_words),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}}]}),
]
Environment = Annotated[dict[str, str], AfterValidator(_environment)]
Seconds = Annotated[float | None, PlainValidator(_seconds), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Name = Annotated[str, AfterValidator(_name), WithJsonSchema(_NAME_SCHEMA)]
SystemName = Annotated[
    str, AfterValidator(_system_name), WithJsonSchema({"type": "string", "pattern": f"^{SYSTEM_NAME}$"})
]
HostName = Annotated[
    str,
    AfterValidator(_matcher(HOST_NAME, "a name of letters, digits and . _ : / -, such as host1")),
    WithJsonSchema({"type": "string", "pattern": f"^{HOST_NAME}$"}),
]
HostNames = BeforeValidator(_host_names)
DiskName = Annotated[str, AfterValidator(_disk_name), WithJsonSchema({"type": "string", "pattern": f"^{DISK_NAME}$"})]
Privilege = Annotated[
    str, AfterValidator(_privilege), WithJsonSchema({"type": "string", "pattern": f"^{PRIVILEGE}$", "default": "G"})
]
RangeWords = Annotated[str, AfterValidator(_range)]
Restart = Annotated[
    Literal["no", "on-failure"],
    BeforeValidator(_restart),
    WithJsonSchema({"enum": ["no", False, "on-failure"], "default": "no"}),
]
Size = Annotated[int, PlainValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
Storage = Annotated[int, PlainValidator(_storage), WithJsonSchema(_SIZE_SCHEMA)]
Address = Annotated[int | None, PlainValidator(_address), WithJsonSchema(_SIZE_SCHEMA)]
UpTo = Annotated[int | None, PlainValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
SegmentSize = Annotated[
    int | None,
    PlainValidator(_segment_size),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_SIZE_SCHEMA["anyOf"]], "default": "auto"}),
]
