"""Name the line and field of the YAML that an image cannot be made for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from dcss.config.sources import DebianSource, DirectorySource, Ext2Source, FilesSource, ImageSource, TarSource
from dcss.errors import ConfigError, ImageError, ImageSizeError

if TYPE_CHECKING:
    from dcss.config.plan import SegmentPlan


class PatternProblem(NamedTuple):
    """What is wrong with one pattern: its `number` in the list `key`, which is "files" or "exclude"."""

    key: str
    number: int
    message: str


class PatternsError(ImageError):
    """Raised with everything that is wrong with the patterns of `files:` and `exclude:`."""

    def __init__(self, problems: Sequence[PatternProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(problems)


@contextmanager
def segment_errors(segments: Sequence["SegmentPlan"]) -> Iterator[None]:
    """Turn each ImageError into a ConfigError that names file, line and field of the segments that an image is for.

    The image is that of the first one; a size that does not suffice is that of the last one.
    """
    first, last = segments[0], segments[-1]
    place, image = first.place, first.image
    name = ":".join(segment.name for segment in segments)
    if place is None or image is None:
        yield
        return
    key = _source_key(image)
    try:
        yield
    except PatternsError as error:
        raise ConfigError(
            *(
                f"{place.field('image', problem.key, problem.number)}: segment {name}: {problem.message}"
                for problem in error.problems
            )
        ) from error
    except ImageSizeError as error:
        sized = "define" if last.definition is not None else "size"
        raise ConfigError(f"{(last.place or place).field(sized)}: segment {name}: {error}") from error
    except ImageError as error:
        raise ConfigError(f"{place.field('image', key)}: segment {name}: {error}") from error


def _source_key(image: ImageSource) -> str:
    match image:
        case FilesSource():
            return "files"
        case DirectorySource():
            return "directory"
        case TarSource():
            return "tar"
        case DebianSource():
            return "debian"
        case Ext2Source():
            return "ext2"
