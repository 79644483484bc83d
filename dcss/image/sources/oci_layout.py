"""Find the layers of an image in an OCI image layout, by its index and its manifests.

Sources: the OCI image layout, index and manifest specifications; Docker's image manifest, version 2.
"""

from collections.abc import Sequence
from typing import Final

from dcss.config.sources import Choice
from dcss.errors import ImageError
from dcss.image.sources.choice import Layer, diff_ids_of, has_tag, is_platform, not_one, platform_of
from dcss.image.sources.digests import Digest
from dcss.image.sources.image_document import Descriptor, Document, ImageParts
from dcss.image.sources.marks import OCI_LAYOUT

INDEX: Final = "index.json"
_ELSEWHERE: Final = ("nondistributable", ".foreign.")  # in media types of layers: OCI's, Docker's
_DEPTH: Final = 8  # of indexes in indexes


def layers_of(outer: ImageParts, choice: Choice) -> list[Layer]:
    """Return the layers of the one image of the choice, lowest first. Raises ImageError where there is not one."""
    if not outer.has(INDEX):
        raise ImageError(f"{outer.name}: {INDEX}: found none beside {OCI_LAYOUT}, wanted it; copy the image again")
    return _layers(outer, Document.of(outer, INDEX), choice, 0)


def _layers(outer: ImageParts, index: Document, choice: Choice, depth: int) -> list[Layer]:
    if depth > _DEPTH:
        raise ImageError(f"{index.where}: found indexes in indexes more than {_DEPTH} deep, wanted an image")
    listed = [each for each in index.mappings("manifests") if not _is_attestation(each)]
    document = Descriptor.of(_chosen(outer, listed, choice)).read(outer)
    if "manifests" in document.fields:  # an index of indexes
        return _layers(outer, document, choice, depth + 1)
    layers = document.mappings("layers")
    diff_ids: Sequence[Digest | None] = [None] * len(layers)
    if document.fields.get("config") is not None:
        config = Descriptor.of(document.mapping("config")).read(outer)
        diff_ids = diff_ids_of(config, len(layers))
    return [_layer(outer, layer, diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True)]


def _layer(outer: ImageParts, layer: Document, diff_id: Digest | None) -> Layer:
    descriptor = Descriptor.of(layer)
    media_type = layer.text("mediaType", "")
    if (
        any(each in media_type for each in _ELSEWHERE)
        and descriptor.embedded is None
        and not outer.has(descriptor.digest.blob)
    ):
        raise ImageError(
            f"{layer.where}: found a layer that is not in the archive (mediaType {media_type}), wanted it there: it has"
            " to be fetched from where it is distributed"
        )
    return Layer(descriptor.archive(outer), descriptor.digest, diff_id)


def _chosen(outer: ImageParts, listed: list[Document], choice: Choice) -> Document:
    """Return the one image of the choice."""
    tagged = [each for each in listed if has_tag(choice.tag, _tags(each)) or not any(map(_tags, listed))]
    found = list({each.text("digest"): each for each in tagged}.values())  # several tags may name one image
    if choice.platform is not None:
        found = [each for each in found if _may_be(choice.platform, each)]
    if len(found) != 1:
        raise not_one(outer, len(found), ", ".join(_describe(each) for each in found or listed) or "none")
    return found[0]


def _may_be(wanted: str, manifest: Document) -> bool:
    """Say whether an image is for a platform, or does not say for which."""
    return "platform" not in manifest.fields or is_platform(wanted, manifest.mapping("platform"))


def _tags(manifest: Document) -> list[str]:
    annotations = manifest.mapping("annotations")
    names = (annotations.fields.get(key) for key in ("org.opencontainers.image.ref.name", "io.containerd.image.name"))
    return [name for name in names if isinstance(name, str)]


def _is_attestation(manifest: Document) -> bool:
    kind = manifest.mapping("annotations").fields.get("vnd.docker.reference.type")
    return kind == "attestation-manifest" or manifest.mapping("platform").fields.get("architecture") == "unknown"


def _describe(manifest: Document) -> str:
    tag = manifest.mapping("annotations").text("org.opencontainers.image.ref.name", "without a name")
    return f"{tag} {platform_of(manifest.mapping('platform'))}"
