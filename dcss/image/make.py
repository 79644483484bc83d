"""Write the images that `dcss image build` asks for into files, each completely or not at all."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dcss.config.sources import Choice, DirectorySource, ImageSource, TarSource
from dcss.errors import ConfigError, ImageError
from dcss.host.files import appearing_whole
from dcss.image.build import plan_image
from dcss.image.problems import segment_errors
from dcss.image.sources.kind import source_of
from dcss.progress import Progress

if TYPE_CHECKING:
    from dcss.config.plan import SegmentPlan

_CONFIG_SUFFIXES: Final = frozenset({".yaml", ".yml"})
_PIPED: Final = "standard input"


class WantedImage(NamedTuple):
    """An image to make: its source, file, address and size (None: the smallest possible), and the segments for it."""

    source: ImageSource
    path: Path
    segments: "tuple[SegmentPlan, ...]"
    address: int
    size_bytes: int | None


class MadeImage(NamedTuple):
    """An image that was made; `segment` is ``A:B`` where it lies over several, `files` None for a ready image."""

    path: Path
    segment: str | None
    address: int
    size_bytes: int
    content_bytes: int
    files: int | None
    left_out: int
    notes: tuple[str, ...]
    seconds: float

    def form(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**self._asdict(), "path": str(self.path), "seconds": round(self.seconds, 3)}


def wanted_images(
    source: Path, output: Path, address: int | None, size_bytes: int | None, choice: Choice
) -> Iterator[WantedImage]:
    """Yield the image of a directory, tar or ext2 image, or those of a configuration's segments.

    Raises ImageError where `source` is none of these, ConfigError where options contradict a configuration.
    """
    if not source.exists():
        raise ImageError(f"{source}: found nothing there, wanted a directory, a tar or a configuration")
    if source.suffix in _CONFIG_SUFFIXES and source.is_file():
        if address is not None or size_bytes is not None or choice != Choice():
            raise ConfigError(
                f"{source}: found --at, --size, --platform or --tag beside a configuration, which says these for each"
                " segment"
            )
        yield from _of_segments(source, output)
        return
    tree = _chosen(source_of(source), choice, str(source))
    if output.is_dir():
        raise ImageError(f"{output}: found a directory, wanted the name of the image to write")
    if isinstance(tree, DirectorySource) and output.absolute().resolve().is_relative_to(source.resolve()):
        raise ImageError(f"{output} lies in {source}, of which it is made: write it somewhere else")
    yield WantedImage(tree, output, (), address or 0, size_bytes)


def _chosen(tree: ImageSource, choice: Choice, name: str) -> ImageSource:
    """Return a source with the choice among container images. Raises ConfigError where it can hold none."""
    if isinstance(tree, TarSource):
        return replace(tree, platform=choice.platform, tag=choice.tag)
    if choice != Choice():
        raise ConfigError(f"{name}: found --platform or --tag, wanted these beside a container image only")
    return tree


def _of_segments(source: Path, output: Path) -> Iterator[WantedImage]:
    from dcss.config.load import load_plan

    images = list(segment_images(load_plan(source).segments, output))
    if not images:
        raise ConfigError(f"{source}: found no segment with an image, wanted one at least")
    as_directory = output.is_dir() or len(images) > 1
    if as_directory and output.exists() and not output.is_dir():
        raise ImageError(f"{output}: found a file, wanted a directory for {len(images)} images")
    yield from images if as_directory else (images[0]._replace(path=output),)


def segment_images(segments: "Sequence[SegmentPlan]", directory: Path) -> Iterator[WantedImage]:
    """Yield the images of these segments, as files of a directory."""
    from dcss.config.plan import image_groups

    for group in image_groups(segments):
        image = group[0].image
        if image is None:
            continue
        name = "-".join(segment.name for segment in group)  # a colon would name a host to scp and rsync
        path = directory / f"{name}.img"
        sizes_bytes = [segment.size_bytes for segment in group]
        size_bytes = None if None in sizes_bytes else sum(size or 0 for size in sizes_bytes)
        yield WantedImage(image, path, group, group[0].start_address or 0, size_bytes)


def make_image(wanted: WantedImage, progress: Progress) -> MadeImage:
    """Build an image into its file, which appears complete or not at all. Raises ImageError."""
    began = time.perf_counter()
    with segment_errors(wanted.segments) if wanted.segments else nullcontext():
        plan = plan_image(wanted.source, address=wanted.address, size_bytes=wanted.size_bytes)
    progress.phase(f"build {wanted.path.name}", plan.content_bytes, "bytes")
    for note in plan.notes:
        progress.warn(note)
    if wanted.path.exists() and not wanted.path.is_file():
        raise ImageError(f"{wanted.path}: found no regular file, wanted one or none: nothing else is written over")
    try:
        with appearing_whole(wanted.path) as descriptor:
            plan.write(descriptor, progress.advance)
    except OSError as error:
        raise ImageError(f"{wanted.path} cannot be written: {error.strerror}") from error
    return MadeImage(
        path=wanted.path,
        segment=":".join(segment.name for segment in wanted.segments) or None,
        address=wanted.address,
        size_bytes=plan.size_bytes,
        content_bytes=plan.content_bytes,
        files=plan.files,
        left_out=plan.left_out,
        notes=plan.notes,
        seconds=time.perf_counter() - began,
    )


@contextmanager
def standard_input(choice: Choice) -> Iterator[ImageSource]:
    """Yield what stands on standard input as a source; what cannot be read twice is kept in an unnamed file meanwhile.

    Raises ConfigError for a terminal and for nothing at all, ImageError for what is no archive and no image.
    """
    try:
        found = os.fstat(0)
    except OSError as error:
        raise ConfigError(f"-: found no standard input ({error.strerror}), wanted an archive there") from error
    if os.isatty(0):
        raise ConfigError("-: found a terminal, wanted an archive: docker save IMAGE | dcss image build - -o FILE")
    if stat.S_ISREG(found.st_mode):
        yield _chosen(source_of(Path("/proc/self/fd/0"), _PIPED), choice, _PIPED)
        return
    from shutil import copyfileobj
    from tempfile import TemporaryFile

    with TemporaryFile() as kept, open(0, "rb", closefd=False) as piped:
        copyfileobj(piped, kept, 1 << 20)
        kept.flush()
        yield _chosen(source_of(Path(f"/proc/self/fd/{kept.fileno()}"), _PIPED), choice, _PIPED)
