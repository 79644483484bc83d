"""Find the layers of an image in what `docker save` writes: manifest.json, configurations, and layers."""

import re
from collections.abc import Sequence
from typing import Final

from dcss.config.sources import Choice
from dcss.errors import ImageError
from dcss.image.sources.choice import Layer, diff_ids_of, has_tag, is_platform, not_one, platform_of
from dcss.image.sources.digests import Digest
from dcss.image.sources.image_document import Document, ImageParts, parsed, shown
from dcss.image.sources.marks import MANIFEST

_OF_DOCKER: Final = {"Config", "Layers", "RepoTags"}
# A layer or a configuration has its digest for a name, in every form that docker, podman and skopeo write.
_PART: Final = re.compile(r"(blobs/sha256/)?[0-9a-f]{64}(\.tar|\.json|/layer\.tar)?")
_LAYER: Final = re.compile(r"[0-9a-f]{64}/layer\.tar")


def manifests_of(outer: ImageParts) -> list[Document] | None:
    """Return what manifest.json says of each image, or None where there is none, or one of something else.

    Raises ImageError where it is damaged, or lost, in what is an image otherwise.
    """
    where = f"{outer.name}: {MANIFEST}"
    if not outer.has(MANIFEST):
        if any(map(_LAYER.fullmatch, outer.names())):
            raise ImageError(f"{where}: found none beside the layers of an image, wanted it; save the image again")
        return None
    try:
        images = parsed(outer.documents.get(MANIFEST, b""), where)
    except ImageError:
        if any(map(_PART.fullmatch, outer.names())):
            raise
        return None
    if _is_of_docker(images) or any(map(_PART.fullmatch, outer.names())):
        return _each_of(images, where)
    return None


def layers_of(outer: ImageParts, images: Sequence[Document], choice: Choice) -> list[Layer]:
    """Return the layers of the one image of the choice, lowest first. Raises ImageError where there is not one."""
    found = [image for image in images if has_tag(choice.tag, _tags(image))]
    if len(found) != 1:
        raise not_one(outer, len(found), ", ".join(tag for image in found or images for tag in _names(image)))
    (image,) = found
    names = image.texts("Layers")
    diff_ids: Sequence[Digest | None] = [None] * len(names)
    if image.fields.get("Config") is not None:
        config = Document.of(outer, image.text("Config"))
        if choice.platform is not None and not is_platform(choice.platform, config):
            raise not_one(outer, 0, platform_of(config))
        diff_ids = diff_ids_of(config, len(names))
    return [Layer(outer.part(name), None, diff_id) for name, diff_id in zip(names, diff_ids, strict=True)]


def _is_of_docker(images: object) -> bool:
    return (
        isinstance(images, list)
        and all(isinstance(image, dict) for image in images)
        and any(_OF_DOCKER & image.keys() for image in images)
    )


def _each_of(images: object, where: str) -> list[Document]:
    if not isinstance(images, list):
        raise ImageError(f"{where}: found {shown(images)}, wanted a list of images; save the image again")
    names = [f"{where}: image {number}" if len(images) > 1 else where for number in range(len(images))]
    return [Document.mapped(name, image) for name, image in zip(names, images, strict=True)]


def _tags(image: Document) -> list[str]:
    return image.texts("RepoTags") if "RepoTags" in image.fields else []


def _names(image: Document) -> list[str]:
    return _tags(image) or ["without a tag"]
