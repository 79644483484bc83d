"""Find the layers of a container image in a tar, and check the digests that it gives.

Sources: the OCI image layout and image manifest specifications; `docker save` writes manifest.json besides.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from dcss.errors import ImageError
from dcss.image.sources.archive import Archive
from dcss.image.sources.digests import Digest

_FOREIGN: Final = "nondistributable"  # in the media type of layers that are fetched from elsewhere


class ImageParts(Protocol):
    """What an image is read from: a tar, or a directory."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def documents(self) -> Mapping[str, bytes]:
        """Files that may be an image's manifests, by name."""
        ...

    def has(self, name: str) -> bool:
        """Return True if there is a file called `name`."""
        ...

    def part(self, name: str) -> Archive:
        """Return the file called `name` as it is stored. Raises ImageError where there is none."""
        ...


class Choice(NamedTuple):
    """Which of several images is wanted; None does not matter."""

    platform: str | None = None
    tag: str | None = None


class Layer(NamedTuple):
    """One layer as it is stored, maybe compressed, and the digests of that and of the tar in it, where known."""

    stored: Archive
    digest: Digest | None
    diff_id: Digest | None


def layers_of(outer: ImageParts, choice: Choice) -> list[Layer] | None:
    """Return the layers of the image that a tar holds, lowest first, or None where it is an ordinary tar.

    Raises ImageError where it does not hold exactly one image of that choice, lacks what it names, or says nonsense.
    """
    if "oci-layout" in outer.documents and "index.json" in outer.documents and "manifest.json" not in outer.documents:
        return _oci_layers(outer, _Document.of(outer, "index.json"), choice)
    manifests = _docker_manifests(outer)
    if manifests is not None:
        return _docker_layers(outer, manifests, choice)
    if choice != Choice():
        raise ImageError(f"{outer.name}: found no container image, wanted one, since platform or tag are given")
    return None


class _Document(NamedTuple):
    """A mapping in a JSON file of the image; `where` names file and place in messages."""

    where: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, outer: ImageParts, name: str, digest: Digest | None = None) -> "_Document":
        where = f"{outer.name}: {name}"
        content = outer.documents.get(name)
        if content is None:
            raise ImageError(f"{where}: found no JSON there, wanted what the image's manifest names; save it again")
        if digest is not None:
            digest.check(content, where)
        return cls._mapping(where, _parsed(content, where))

    @classmethod
    def _mapping(cls, where: str, value: object) -> "_Document":
        if not isinstance(value, dict):
            raise ImageError(f"{where}: found {_shown(value)}, wanted a mapping")
        return cls(where, value)

    def mapping(self, key: str) -> "_Document":
        """Return the mapping at `key`, an empty one where there is none."""
        return self._mapping(f"{self.where}: {key}", {} if self.fields.get(key) is None else self.fields[key])

    def mappings(self, key: str) -> "list[_Document]":
        """Return the list of mappings at `key`, an empty one for null. Raises ImageError where it is missing."""
        return [self._mapping(f"{self.where}: {key}[{i}]", each) for i, each in enumerate(self._list(key))]

    def texts(self, key: str) -> list[str]:
        """Return the list of texts at `key`, an empty one where there is none or null."""
        found = self._list(key) if key in self.fields else []
        for number, each in enumerate(found):
            if not isinstance(each, str):
                raise ImageError(f"{self.where}: {key}[{number}]: found {_shown(each)}, wanted a text")
        return found

    def text(self, key: str, otherwise: str | None = None) -> str:
        """Return the text at `key`. Raises ImageError where there is none, and nothing `otherwise`."""
        found = self.fields.get(key, otherwise)
        if not isinstance(found, str):
            raise ImageError(f"{self.where}: {key}: found {_shown(found)}, wanted a text")
        return found

    def digest(self) -> Digest:
        """Return the digest of a descriptor."""
        return Digest.parse(self.text("digest"), f"{self.where}: digest")

    def _list(self, key: str) -> list[Any]:
        if key not in self.fields:
            raise ImageError(f"{self.where}: {key}: found nothing, wanted a list")
        found = self.fields[key]
        if found is None:  # as Go writes an empty list
            return []
        if not isinstance(found, list):
            raise ImageError(f"{self.where}: {key}: found {_shown(found)}, wanted a list")
        return found


def _docker_manifests(outer: ImageParts) -> list[_Document] | None:
    """Return what docker's manifest.json says of each image, or None for a file of that name by somebody else."""
    content = outer.documents.get("manifest.json")
    if content is None:
        return None
    try:
        images = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(images, list) or not all(isinstance(image, dict) and "Layers" in image for image in images):
        return None
    where = f"{outer.name}: manifest.json"
    return [
        _Document(f"{where}: image {number}" if len(images) > 1 else where, each) for number, each in enumerate(images)
    ]


def _docker_layers(outer: ImageParts, images: list[_Document], choice: Choice) -> list[Layer]:
    found = [image for image in images if _has_tag(choice.tag, image.texts("RepoTags"))]
    if len(found) != 1:
        tags = ", ".join(tag for image in found or images for tag in image.texts("RepoTags") or ["without a tag"])
        raise _not_one(outer, len(found), tags)
    (image,) = found
    if choice.platform is not None and image.fields.get("Config") is not None:
        config = _Document.of(outer, image.text("Config"))
        if not _is_platform(choice.platform, config):
            raise _not_one(outer, 0, _platform_of(config))
    names = image.texts("Layers")
    diff_ids: Sequence[Digest | None] = [None] * len(names)
    if image.fields.get("Config") is not None:
        diff_ids = _diff_ids(_Document.of(outer, image.text("Config")), len(names))
    return [Layer(outer.part(name), None, diff_id) for name, diff_id in zip(names, diff_ids, strict=True)]


def _has_tag(wanted: str | None, tags: Sequence[str]) -> bool:
    """Say whether one of the tags is the one wanted: NAME:TAG, or the part behind the colon alone."""
    return wanted is None or any(tag == wanted or tag.rpartition(":")[2] == wanted for tag in tags)


def _is_platform(wanted: str, platform: _Document) -> bool:
    found = [platform.text(key, "") for key in ("os", "architecture", "variant")]
    parts = wanted.split("/")
    return parts == found[: len(parts)] and len(parts) in (2, 3)


def _may_be(wanted: str, manifest: _Document) -> bool:
    """Say whether an image is for a platform, or does not say for which."""
    return "platform" not in manifest.fields or _is_platform(wanted, manifest.mapping("platform"))


def _platform_of(platform: _Document) -> str:
    parts = [platform.text(key, "") for key in ("os", "architecture", "variant")]
    return "/".join(parts[:2] + [part for part in parts[2:] if part])


def _not_one(outer: ImageParts, count: int, listed: str) -> ImageError:
    return ImageError(
        f"{outer.name}: found {count} images ({listed}), wanted one: choose by platform and tag (--platform, --tag;"
        " platform: and tag: in the YAML), or save one alone"
    )


def _chosen(outer: ImageParts, listed: list[_Document], choice: Choice) -> _Document:
    """Return the one image of the choice."""
    tagged = [each for each in listed if _has_tag(choice.tag, _tags(each)) or not any(map(_tags, listed))]
    found = list({each.text("digest"): each for each in tagged}.values())  # several tags may name one image
    if choice.platform is not None:
        found = [each for each in found if _may_be(choice.platform, each)]
    if len(found) != 1:
        kinds = ", ".join(_describe(each) for each in found or listed) or "none"
        raise _not_one(outer, len(found), kinds)
    return found[0]


def _tags(manifest: _Document) -> list[str]:
    annotations = manifest.mapping("annotations")
    names = (annotations.fields.get(key) for key in ("org.opencontainers.image.ref.name", "io.containerd.image.name"))
    return [name for name in names if isinstance(name, str)]


def _oci_layers(outer: ImageParts, index: _Document, choice: Choice, depth: int = 0) -> list[Layer]:
    if depth > 8:
        raise ImageError(f"{index.where}: found indexes in indexes more than 8 deep, wanted an image")
    listed = [each for each in index.mappings("manifests") if not _is_attestation(each)]
    digest = _chosen(outer, listed, choice).digest()
    document = _Document.of(outer, digest.blob, digest)
    if "manifests" in document.fields:  # an index of indexes
        return _oci_layers(outer, document, choice, depth + 1)
    layers = document.mappings("layers")
    diff_ids: Sequence[Digest | None] = [None] * len(layers)
    if document.fields.get("config") is not None:
        config = document.mapping("config").digest()
        diff_ids = _diff_ids(_Document.of(outer, config.blob, config), len(layers))
    return [_oci_layer(outer, layer, diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True)]


def _oci_layer(outer: ImageParts, layer: _Document, diff_id: Digest | None) -> Layer:
    digest = layer.digest()
    if _FOREIGN in layer.text("mediaType", "") and not outer.has(digest.blob):
        raise ImageError(
            f"{layer.where}: found a layer that is not in the archive (mediaType {layer.text('mediaType')}), wanted it"
            " there: it has to be fetched from where it is distributed"
        )
    stored = outer.part(digest.blob)
    size_bytes = layer.fields.get("size")
    if size_bytes is not None and size_bytes != stored.length_bytes():
        digest.check_archive(stored)  # what is wrong there says more
        raise ImageError(f"{layer.where}: size: found {_shown(size_bytes)}, wanted {stored.length_bytes()}, as it has")
    return Layer(stored, digest, diff_id)


def _diff_ids(config: _Document, layers: int) -> Sequence[Digest | None]:
    """Return the digests of the layers' tars, as an image's configuration has them; none where it does not say."""
    rootfs = config.mapping("rootfs")
    if "diff_ids" not in rootfs.fields:
        return [None] * layers
    found = rootfs.texts("diff_ids")
    if len(found) != layers:
        raise ImageError(f"{rootfs.where}: diff_ids: found {len(found)}, wanted {layers}: one for each layer")
    return [Digest.parse(each, f"{rootfs.where}: diff_ids[{number}]") for number, each in enumerate(found)]


def _is_attestation(manifest: _Document) -> bool:
    kind = manifest.mapping("annotations").fields.get("vnd.docker.reference.type")
    return kind == "attestation-manifest" or manifest.mapping("platform").fields.get("architecture") == "unknown"


def _describe(manifest: _Document) -> str:
    platform = manifest.mapping("platform")
    tag = manifest.mapping("annotations").text("org.opencontainers.image.ref.name", "without a name")
    return f"{tag} {platform.text('os', '')}/{platform.text('architecture', '')}"


def _parsed(content: bytes, where: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{where}: found no JSON ({error}), wanted what an image has there; save it again") from error


def _shown(value: object) -> str:
    """Return how a message names a value of a document."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
