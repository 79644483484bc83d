"""`tar:`: a tar as it would be unpacked; also compressed, also an image from `docker save` or in OCI layout.

Content is not unpacked anywhere: an uncompressed tar is read in place, a compressed one twice from front to back.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from dcss.config.sources import Choice, TarSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory
from dcss.image.sources.archive import Span, unpacked
from dcss.image.sources.choice import Layer
from dcss.image.sources.container import layers_of
from dcss.image.sources.host import HostFile, host_error
from dcss.image.sources.layout import LayoutDirectory, is_image
from dcss.image.sources.marks import OCI_LAYOUT
from dcss.image.sources.overlay import Overlay
from dcss.image.sources.tar_scan import TarScan, scan


def read_tar(source: TarSource) -> Tree:
    """Return the content of the tar, or of the container image in it, with its layers applied.

    Raises ImageError where it cannot be read, is damaged, or holds several images.
    """
    name = source.label or str(source.path)
    choice = Choice(source.platform, source.tag)
    overlay = Overlay(name)
    if source.path.is_dir():
        if not is_image(source.path):
            raise ImageError(
                f"{name}: found no regular file, wanted a tar, or a directory with {OCI_LAYOUT} and index.json"
            )
        parts = LayoutDirectory(source.path, name)
        return Tree(overlay.root, notes=_apply_layers(layers_of(parts, choice) or (), overlay))
    outer = scan(unpacked(_span(source.path, name)))
    layers = layers_of(outer, choice)
    if layers is None:
        _apply(outer, overlay)
        return Tree(overlay.root, notes=list(outer.notes))
    return Tree(overlay.root, notes=_apply_layers(layers, overlay))


def _span(path: Path, name: str) -> Span:
    raw = os.fsencode(path)
    try:
        found = os.stat(raw)  # noqa: PTH116 - a Path holds no bytes
    except OSError as error:
        raise host_error(raw, "cannot be read", error) from error
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{name}: found no regular file, wanted a tar")
    return Span(HostFile(raw, found.st_size, found.st_mtime_ns), 0, found.st_size, name)


def _apply_layers(layers: Sequence[Layer], overlay: Overlay) -> list[str]:
    """Apply the layers, lowest first, and return what could not be kept of them."""
    notes: list[str] = []
    for layer in layers:
        overlay.begin_layer()
        if layer.digest is not None:
            layer.digest.check_archive(layer.stored)
        whole = layer.digest is not None or layer.diff_id is not None
        scanned = scan(unpacked(layer.stored), layer.diff_id, whole=whole)
        notes += scanned.notes
        _apply(scanned, overlay)
    return notes


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
