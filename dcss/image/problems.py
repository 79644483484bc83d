"""Name the line and field of the YAML that an image cannot be made for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from dcss.config.plan import DirectorySource, Ext2Source, FilesSource, ImageSource, SegmentPlan, TarSource
from dcss.errors import ConfigError, ImageError, ImageSizeError


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
def segment_errors(segment: SegmentPlan) -> Iterator[None]:
    """Turn each ImageError into a ConfigError that names file, line and field of `segment`."""
    place, image = segment.place, segment.image
    if place is None or image is None:
        yield
        return
    key = _source_key(image)
    try:
        yield
    except PatternsError as error:
        raise ConfigError(
            *(
                f"{place.field('image', problem.key, problem.number)}: segment {segment.name}: {problem.message}"
                for problem in error.problems
            )
        ) from error
    except ImageSizeError as error:
        sized = "define" if segment.definition is not None else "size"
        raise ConfigError(f"{place.field(sized)}: segment {segment.name}: {error}") from error
    except ImageError as error:
        raise ConfigError(f"{place.field('image', key)}: segment {segment.name}: {error}") from error


def _source_key(image: ImageSource) -> str:
    match image:
        case FilesSource():
            return "files"
        case DirectorySource():
            return "directory"
        case TarSource():
            return "tar"
        case Ext2Source():
            return "ext2"
