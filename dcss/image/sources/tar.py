"""`tar:`: a tar as it would be unpacked; also compressed, also an image from `docker save` or in OCI layout.

Content is not unpacked anywhere: an uncompressed tar is read in place, a compressed one twice from front to back.
"""

import os
import stat

from dcss.config.plan import TarSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory
from dcss.image.sources.archive import Span, unpacked
from dcss.image.sources.container import layers_of
from dcss.image.sources.host import HostFile, host_error
from dcss.image.sources.overlay import Overlay
from dcss.image.sources.tar_scan import TarScan, scan


def read_tar(source: TarSource) -> Tree:
    """Return the content of the tar, or of the container image in it, with its layers applied.

    Raises ImageError where it cannot be read, is damaged, or holds several images.
    """
    path = os.fsencode(source.path)
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path holds no bytes
    except OSError as error:
        raise host_error(path, "cannot be read", error) from error
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{source.path}: found no regular file, wanted a tar")
    file = HostFile(path, found.st_size, found.st_mtime_ns)
    outer = scan(unpacked(Span(file, 0, found.st_size, str(source.path))))
    overlay = Overlay(str(source.path))
    layers = layers_of(outer)
    notes = list(outer.notes) if layers is None else []
    if layers is None:
        _apply(outer, overlay)
    for layer in layers or ():
        overlay.begin_layer()
        if layer.digest is not None:
            layer.digest.check_archive(layer.stored)
        scanned = scan(unpacked(layer.stored), layer.diff_id)
        notes += scanned.notes
        _apply(scanned, overlay)
    return Tree(overlay.root, notes=notes)


def _apply(scanned: TarScan, overlay: Overlay) -> None:
    for member in scanned.members:
        if overlay.white_out(member.path):
            continue
        node = member.node
        if node is None:
            node = overlay.find(member.link_to)
            if node is None or isinstance(node, TreeDirectory):
                raise ImageError(
                    f"{scanned.archive.name}: {os.fsdecode(member.path)} is a hard link to "
                    f"{os.fsdecode(member.link_to)}, of which nothing was found before it"
                )
        overlay.add(member.path, node)
