"""Write a plan as a YAML that `dcss run` takes, with an image beside it where its files are not this machine's own."""

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import yaml

from dcss.abi.page import PAGE_SIZE
from dcss.errors import ConfigError, ImageError
from dcss.host.files import appearing_whole, write_all
from dcss.plan.advise import Plan
from dcss.plan.forecast import GuestKind, guests_of_kinds
from dcss.plan.tree import chosen_tree, map_patterns
from dcss.progress import Progress

IMAGE_SUFFIX: Final = ".img"
_DOLLAR: Final = re.compile(r"\$(?=[${])")  # what the YAML would take for a reference to a variable
_MOUNT: Final = "{device: dcssblk0, at: /, options: [ro, xip]}"


def image_path_of(path: Path) -> Path:
    """Return where the image of a YAML at `path` goes."""
    return path.with_suffix(IMAGE_SUFFIX)


def write_plan(plan: Plan, path: Path, progress: Progress, *, replace: bool = False) -> Plan:
    """Write the YAML, and the image if it needs one, and return the plan, whose advice names the YAML.

    Raises ConfigError where a file is there already and `replace` is not given, ImageError where an image cannot be
    written; then neither file is there.
    """
    with_image = not plan.selection.patterns
    paths = [*([image_path_of(path)] if with_image else []), path]
    for each in paths:
        if not replace and os.path.lexists(each):
            raise ConfigError(f"-o: found {each} there already, wanted a new file; --force writes over it")
    if with_image:
        _write_image(plan, paths[0], progress)
    try:
        _replace(
            path, "\n".join(yaml_lines(plan, _system_name(path), paths[0] if with_image else None)).encode() + b"\n"
        )
    except BaseException:
        if with_image:
            with suppress(OSError):
                paths[0].unlink()
        raise
    return dataclasses.replace(plan, advice=dataclasses.replace(plan.advice, output=str(path)))


def _system_name(path: Path) -> str:
    """Return a name for the system: that of the file, without what such a name cannot have."""
    return re.sub(r"[^a-z0-9-]+", "-", path.stem.lower()).strip("-")[:31] or "advised"


def _write_image(plan: Plan, path: Path, progress: Progress) -> None:
    image = plan.selection.image
    progress.phase(f"build {path.name}", image.content_bytes, "bytes")
    try:
        with appearing_whole(path) as descriptor:
            image.write(descriptor, progress.advance)
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    try:
        with appearing_whole(path) as descriptor:
            write_all(descriptor, content)
    except OSError as error:
        raise ConfigError(f"-o: {path} cannot be written: {error.strerror}") from error


def yaml_lines(plan: Plan, system: str, image: Path | None) -> Iterator[str]:
    """Yield the lines of the YAML; `image` is the image beside it, None where the files are this machine's own."""
    advice = plan.advice
    forecast = advice.forecasts[0]
    yield "# Written by dcss advise, for these to share their files:"
    yield from (f"#   {_comment(each.source)}" for each in advice.inputs[:_SHOWN_INPUTS])
    if len(advice.inputs) > _SHOWN_INPUTS:
        yield f"#   and {len(advice.inputs) - _SHOWN_INPUTS} more"
    yield f"# Forecast for {forecast.guests} guests: {forecast.saved_bytes} bytes saved,"
    yield f"# {forecast.with_sharing_bytes} where without sharing it would be {forecast.without_sharing_bytes}."
    yield f"system: {_scalar(system)}"
    yield ""
    yield "segments:"
    yield from _segment_lines(plan, image)
    yield ""
    yield "guests:"
    yield from _guest_lines(plan)


_SHOWN_INPUTS: Final = 20


def _segment_lines(plan: Plan, image: Path | None) -> Iterator[str]:
    for number, segment in enumerate(plan.segments):
        last = number == len(plan.segments) - 1
        yield f"  # On z/VM: {segment.defseg}"
        yield f"  - name: {segment.name}"
        yield f"    at: {segment.address:#x}"
        yield "    type: SR"
        fixed = not last or plan.selection.image.size_bytes != _smallest(plan)
        yield f"    size: {segment.size_bytes if fixed else 'auto'}"
        if number:
            yield f"    image: {{continues: {plan.segments[number - 1].name}}}"
        elif image is not None:
            yield f"    image: {{ext2: {_scalar(image.name)}}}"
        else:
            yield "    image:"
            yield "      files:"
            yield from (f"        - {_scalar(pattern)}" for pattern in plan.selection.patterns)


def _smallest(plan: Plan) -> int:
    return plan.selection.image.file_system_bytes


def _guest_lines(plan: Plan) -> Iterator[str]:
    counts = guests_of_kinds(plan.advice.forecasts[0].guests, plan.kinds, plan.consumers)
    tree = chosen_tree(plan.selection.chosen, plan.consumers)
    device = ":".join(segment.name for segment in plan.segments)
    storage_bytes = -(-plan.wishes.storage_bytes // PAGE_SIZE) * PAGE_SIZE
    for kind, count in zip(plan.kinds, counts, strict=True):
        if not count:
            continue
        yield f"  - name: {kind.name}"
        yield f"    count: ${{{count_variable(plan.kinds, kind)}:-{count}}}"
        yield f"    storage: {storage_bytes}"
        yield f"    dcssblk: [{_scalar(device)}]"
        yield f"    mounts: [{_MOUNT}]"
        yield "    run:"
        patterns = map_patterns(tree, {candidate.node for candidate in kind.files})
        yield from (f"      - map: {_scalar(pattern)}" for pattern in patterns)


def count_variable(kinds: Sequence[GuestKind], kind: GuestKind) -> str:
    """Return the environment variable that gives the number of guests of a kind."""
    return "GUESTS" if len(kinds) == 1 else f"GUESTS_{kind.name}"


def _scalar(text: str) -> str:
    """Return a scalar of YAML that is read as this text, on one line."""
    dumped = yaml.safe_dump(
        _DOLLAR.sub("$$", text),
        default_flow_style=True,
        default_style=None if text.replace("/", "").replace(".", "").replace("-", "").isalnum() else '"',
        allow_unicode=True,
        width=float("inf"),
    )
    return dumped.removesuffix("\n").removesuffix("\n...").removesuffix("\n")


def _comment(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
