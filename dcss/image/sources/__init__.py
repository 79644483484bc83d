"""Sources of an image's content: each module reads one kind of source into a tree."""

from dcss.config.sources import DebianSource, DirectorySource, FilesSource, TarSource, TreeSource
from dcss.ext2.mkfs.tree import Tree
from dcss.image.sources.directory import read_directory


def read_tree(source: TreeSource) -> Tree:
    """Return everything that `source` names. Raises ImageError where some of it cannot be read."""
    # Imported when used: loading fnmatch, tarfile and decompressors takes longer than building a small image.
    match source:
        case FilesSource():
            from dcss.image.sources.files import read_files

            return read_files(source)
        case DirectorySource():
            return read_directory(source)
        case DebianSource():
            from dcss.image.sources.debian.read import read_debian

            return read_debian(source)
        case TarSource():
            from dcss.image.sources.tar import read_tar

            return read_tar(source)
