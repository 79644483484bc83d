"""The YAML's models: keys, types and the JSON Schema. The one importer of pydantic; load.py makes plans of them."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from dcss.abi.extmem import MAX_DCSS_ADDR, MAX_DCSS_BYTES, PageRange, SegmentName
from dcss.abi.page import PAGE_SIZE
from dcss.config.problems import Location, WrongValueError
from dcss.config.size import parse_size

SYSTEM_NAME = r"[a-z0-9][a-z0-9-]{0,30}"  # it goes into the names of shared memory, directories and sockets
DEFAULT_STORAGE_BYTES = 64 << 20
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
        hint = "in upper case" if value != value.upper() else ""
        raise WrongValueError("1 to 8 characters of A-Z 0-9 @ # $", hint) from error
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
    """Return the words that a shell's line stands for; a list is words as it is."""
    return ["sh", "-c", _text(value)] if isinstance(value, str) else value


def _guest_path(value: str) -> str:
    if not PurePosixPath(_text(value)).is_absolute():
        raise WrongValueError("a path from the guest's root, such as /usr/lib")
    return value


def _option(value: str) -> str:
    if not _text(value).isprintable() or "," in value or " " in value:
        raise WrongValueError("one mount option", "write several as a list: [ro, xip]")
    return value


def _restart(value: object) -> object:
    return "no" if value is False else value  # what YAML 1.1 reads in an unquoted no


def _privilege(value: str) -> str:
    if re.fullmatch(PRIVILEGE, value) is None or len(set(value)) < len(value):
        raise WrongValueError("CP's privilege classes, each a letter of A to G once, such as EG")
    return value


def _system_name(value: str) -> str:
    if re.fullmatch(SYSTEM_NAME, value) is None:
        raise WrongValueError("1 to 31 characters of a-z 0-9 and -, the first no -")
    return value


# An empty value would say None, which no key means: `_GIVEN` refuses it where None is the default.
_GIVEN = BeforeValidator(_given)
Option = Annotated[str, AfterValidator(_option)]
Text = Annotated[str, AfterValidator(_text)]
GuestPath = Annotated[str, AfterValidator(_guest_path)]
Words = Annotated[
    list[Text],
    Field(min_length=1),
    BeforeValidator(_words),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}}]}),
]
Name = Annotated[str, AfterValidator(_name), WithJsonSchema(_NAME_SCHEMA)]
SystemName = Annotated[
    str, AfterValidator(_system_name), WithJsonSchema({"type": "string", "pattern": f"^{SYSTEM_NAME}$"})
]
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


class Model(BaseModel):
    """Base of all models: no key beyond the known ones, and no value turned into another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AtLeastModel(Model):
    """`at_least:`: less than this found on the machine is an error."""

    files: Annotated[int, Field(ge=0)] = Field(0, description="regular files that the patterns must match")
    size: Size = Field(0, description="bytes that they must have together")


class ImageModel(Model):
    """`image:`: exactly one of `files`, `directory`, `tar` and `ext2`."""

    files: Annotated[Annotated[list[Text], Field(min_length=1)] | None, _GIVEN] = Field(
        None, description="patterns of files of this machine, which keep their path; ** is any number of directories"
    )
    directory: Annotated[Text | None, _GIVEN] = Field(
        None, description="a directory whose content becomes the root of the image"
    )
    tar: Annotated[Text | None, _GIVEN] = Field(
        None, description="a tar archive, also a compressed one, also from docker save"
    )
    ext2: Annotated[Text | None, _GIVEN] = Field(None, description="a ready ext2 image, taken as it is")
    at_least: Annotated[AtLeastModel | None, _GIVEN] = Field(None, description="with files: less than this is an error")
    up_to: UpTo = Field(None, description="with files: what goes beyond this size is left out")


class SegmentModel(Model):
    """One entry of `segments:`."""

    name: Name = Field(description="the segment's name: 1 to 8 characters of A-Z 0-9 @ # $")
    define: Annotated[Annotated[list[RangeWords], Field(min_length=1)] | None, _GIVEN] = Field(
        None, description="page ranges as DEFSEG takes them: first and last page in hex, and a type"
    )
    at: Address = Field(None, description="instead of define: the absolute address of the first byte")
    type: Literal["SW", "EW", "SR", "ER", "SN", "EN", "SC"] = Field("SR", description="with at: the type of all pages")
    size: SegmentSize = Field(None, description="with at: the segment's size; auto takes the image's own")
    image: Annotated[ImageModel | None, _GIVEN] = Field(
        None, description="what goes into the segment; absent: it is the saved segment of that name"
    )
    save: bool = Field(False, description="with image: save the segment, so that it outlives the system")


class MountModel(Model):
    """One entry of `mounts:`."""

    device: Text = Field(description="a block device of the guest: dcssblk0 is the first of dcssblk:")
    at: GuestPath = Field(description="where the guest mounts it")
    options: list[Option] = Field([], description="mount options; without xip reads and mappings go through copies")


class StepModel(Model):
    """One entry of `run:`: exactly one of `map`, `read` and `exec`."""

    map: Annotated[GuestPath | None, _GIVEN] = Field(
        None, description="map every file that the pattern matches, every page present, and keep it mapped"
    )
    read: Annotated[GuestPath | None, _GIVEN] = Field(
        None, description="read every file that the pattern matches with read(2)"
    )
    exec: Annotated[Words | None, _GIVEN] = Field(
        None, description="a command and its arguments; or a line, which is sh -c with the line"
    )
    background: bool = Field(False, description="with exec: go on without waiting for its end")


class GuestModel(Model):
    """One entry of `guests:`, which `count` turns into several guests."""

    name: Name = Field(description="the guest's name; at most 8 characters with its number")
    count: Annotated[Annotated[int, Field(ge=1)] | None, _GIVEN] = Field(
        None, description="that many guests, numbered from 1 with at least two digits; absent: one, without a number"
    )
    engine: Literal["process", "s390x", "linux"] = Field(
        "process", description="what the guest runs on; s390x and linux are not built yet, and refused"
    )
    storage: Storage = Field(DEFAULT_STORAGE_BYTES, description="its real storage, a limit: copies beyond it fail")
    namesave: list[Name] = Field([], description="restricted segments (RSTD) that it may load")
    privilege: Privilege = Field("G", description="its privilege classes for CP commands; DEFSEG and SAVESEG need E")
    dcssblk: Annotated[list[Text] | None, _GIVEN] = Field(
        None, description='its dcssblk devices, in order; "A:B" is one device of two segments, "A(local)" exclusive'
    )
    mounts: list[MountModel] = Field([], description="what it mounts, in order")
    expect: Literal["shared", "copies", "nothing"] = Field(
        "shared", description="shared; copies for a baseline; nothing for one that no claim is about"
    )
    run: list[StepModel] = Field([], description="its workload, in order")
    after: list[Name] = Field(
        [], description="guests of this file whose `run:` lists must have ended well before it starts"
    )
    restart: Restart = Field("no", description="on-failure: start it again when it fails or is killed")


class SystemModel(Model):
    """One system: its segments and its guests."""

    system: Annotated[SystemName | None, _GIVEN] = Field(
        None, description="the system's name; absent: the file's name without its ending"
    )
    segments: Annotated[list[SegmentModel], Field(min_length=1)] = Field(description="the segments")
    guests: list[GuestModel] = Field([], description="the guests")


def validate(data: object) -> tuple[SystemModel | None, list[ErrorDetails]]:
    """Return the model of `data`, or None and everything that is wrong with it as pydantic tells it."""
    try:
        return SystemModel.model_validate(data), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def known_keys(location: Location) -> tuple[str, ...]:
    """Return the keys that the mapping at `location` may have."""
    model: type[BaseModel] = SystemModel
    for key in location:
        if isinstance(key, str):
            model = _MODELS[key]
    return tuple(model.model_fields)


_MODELS: dict[str, type[BaseModel]] = {
    "segments": SegmentModel,
    "image": ImageModel,
    "at_least": AtLeastModel,
    "guests": GuestModel,
    "mounts": MountModel,
    "run": StepModel,
}
