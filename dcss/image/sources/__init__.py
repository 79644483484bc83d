"""Where an image's content comes from: each module turns one kind of source into a tree."""

from dcss.config.plan import DirectorySource, FilesSource, TarSource
from dcss.image.sources.directory import read_directory
from dcss.image.sources.files import read_files
from dcss.image.tree import Tree


def read_tree(source: FilesSource | DirectorySource | TarSource) -> Tree:
    """Return everything that `source` names. Raises ImageError where some of it cannot be read."""
    match source:
        case FilesSource():
            return read_files(source)
        case DirectorySource():
            return read_directory(source)
        case TarSource():
            from dcss.image.sources.tar import read_tar  # tarfile and its decompressors load slowly

            return read_tar(source)
