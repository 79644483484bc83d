"""Find the layers of a container image in a tar or a directory, whatever wrote it, and check its digests."""

from dcss.config.sources import Choice
from dcss.errors import ImageError
from dcss.image.sources import docker_archive, oci_layout
from dcss.image.sources.choice import Layer
from dcss.image.sources.image_document import ImageParts
from dcss.image.sources.marks import OCI_LAYOUT


def layers_of(outer: ImageParts, choice: Choice) -> list[Layer] | None:
    """Return the layers of the image that a tar holds, lowest first, or None where it is an ordinary tar.

    Raises ImageError where it does not hold exactly one image of that choice, lacks what it names, or says nonsense.
    """
    manifests = docker_archive.manifests_of(outer)  # docker writes both
    if manifests is not None:
        return docker_archive.layers_of(outer, manifests, choice)
    if outer.has(OCI_LAYOUT):
        return oci_layout.layers_of(outer, choice)
    if choice != Choice():
        raise ImageError(f"{outer.name}: found no container image, wanted one, since platform or tag are given")
    return None
