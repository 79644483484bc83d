"""Check the segments of a configuration; each value's own type has been checked before."""

from collections.abc import Callable, Iterator
from pathlib import Path

from dcss.abi.extmem import MAX_DCSS_ADDR
from dcss.abi.page import PAGE_SIZE
from dcss.config.draft import Draft
from dcss.config.models import ImageModel, SegmentModel
from dcss.config.placement import continued_by, definition_of
from dcss.config.problems import FieldProblem, Location

SOURCES = ("files", "directory", "tar", "debian", "ext2", "continues")
_BESIDE_FILES = frozenset({"at_least", "up_to", "exclude", "with_libraries"})


def check_segments(draft: Draft, directory: Path) -> Iterator[FieldProblem]:
    """Yield what is wrong with the segments; relative paths begin in `directory`."""
    first: dict[str, int] = {}
    for index, segment in enumerate(draft.model.segments):
        at: Location = ("segments", index)
        named = draft.sound(*at, "name")
        if named and segment.name in first:
            wanted = f"a name of its own (segments[{first[segment.name]}] has it)"
            yield FieldProblem((*at, "name"), f"'{segment.name}' again", wanted)
        if named:
            first.setdefault(segment.name, index)
        yield from _place(draft, at, segment)
        if segment.image is not None:
            yield from _image(draft, (*at, "image"), segment.image, directory)
        elif segment.save and draft.sound(*at, "image"):
            yield FieldProblem((*at, "save"), "save: without image:", "it only beside image:, which says what is saved")


def _place(draft: Draft, at: Location, segment: SegmentModel) -> Iterator[FieldProblem]:
    given = segment.model_fields_set
    if not all(draft.sound(*at, key) for key in ("define", "at", "image")):
        return
    if "define" in given:
        for key in sorted(given & {"at", "type", "size"}):
            yield FieldProblem((*at, key), f"{key}: beside define:", "either define: or at:, type: and size:")
        try:
            definition_of(segment)
        except ValueError as error:
            found, _, wanted = str(error).partition(": ")[2].partition(", wanted ")
            yield FieldProblem((*at, "define"), found.removeprefix("found "), wanted or "ranges that go together")
    elif "at" not in given:
        if continued_by(segment) is not None:
            return  # it begins where that segment ends
        if segment.image is not None:
            yield FieldProblem(at, "neither define: nor at:", "one of them, which says where the segment lies")
        else:
            for key in sorted(given & {"type", "size"}):
                yield FieldProblem((*at, key), f"{key}: without at:", "it only beside at:")
    elif segment.at is not None and segment.at + (segment.size or PAGE_SIZE) > MAX_DCSS_ADDR:
        yield FieldProblem((*at, "size"), f"an end above {MAX_DCSS_ADDR:#x}", "a segment below that address")


def _image(draft: Draft, at: Location, image: ImageModel, directory: Path) -> Iterator[FieldProblem]:
    if not draft.sound(*at):
        return
    given = [key for key in SOURCES if key in image.model_fields_set]
    if len(given) != 1:
        yield FieldProblem(at, " and ".join(given) or "no source", "exactly one of " + ", ".join(SOURCES))
        return
    if given != ["files"]:
        for key in sorted(image.model_fields_set & _BESIDE_FILES):
            yield FieldProblem((*at, key), f"{key}: beside {given[0]}:", "it only beside files:")
    if given != ["ext2"] and "offset" in image.model_fields_set:
        yield FieldProblem((*at, "offset"), f"offset: beside {given[0]}:", "it only beside ext2:")
    if given != ["tar"]:
        for key in sorted(image.model_fields_set & {"platform", "tag"}):
            yield FieldProblem((*at, key), f"{key}: beside {given[0]}:", "it only beside tar:")
    for key, value, is_kind, kind in (
        ("directory", image.directory, Path.is_dir, "a directory"),
        ("tar", image.tar, _may_be_tar, "a tar file"),
        ("ext2", image.ext2, Path.is_file, "an image file"),
    ):
        if value is not None:
            found = _other_than(is_kind, directory / value)
            if found:
                yield FieldProblem((*at, key), f"{found} at {directory / value}", kind)
    keyring = None if image.debian is None else image.debian.keyring
    if keyring is not None and (found := _other_than(Path.is_file, directory / keyring)):
        yield FieldProblem((*at, "debian", "keyring"), f"{found} at {directory / keyring}", "a file with keys")


def _may_be_tar(path: Path) -> bool:
    return path.is_file() or (path / "oci-layout").is_file()


def _other_than(is_kind: Callable[[Path], bool], path: Path) -> str:
    """Return what lies at `path`, or an empty text where it is what is wanted."""
    try:
        if is_kind(path):
            return ""
        return "something else" if path.exists() else "nothing"
    except OSError as error:  # such as a name that is too long
        return error.strerror or "nothing"
