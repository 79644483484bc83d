"""Recognize the source of an image by its path: a directory, a ready ext2 image, or a tar."""

from pathlib import Path
from shlex import quote

from dcss.config.sources import DirectorySource, ImageSource, TarSource
from dcss.errors import ImageError
from dcss.image.sources.marks import may_be_image

# What knows archives is imported when there may be one: it takes longer than building a small image.


def source_of(path: Path, label: str | None = None) -> ImageSource:
    """Return the source at `path`, which messages call `label`, or by its path.

    Raises ImageError where nothing is there, it cannot be read, or it is something else that is recognized.
    """
    if not path.is_dir():
        from dcss.image.sources.file_kind import source_of_file

        return source_of_file(path, label)
    if not may_be_image(path):
        return DirectorySource(path)
    from dcss.image.sources.layout import is_dir_transport, is_image

    if is_dir_transport(path):
        raise ImageError(
            f"{path}: found an image of skopeo's dir:, wanted an OCI layout: skopeo copy dir:{quote(str(path))}"
            " oci:LAYOUT"
        )
    return TarSource(path) if is_image(path) else DirectorySource(path)
