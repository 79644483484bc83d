"""Find the layers of a container image in a tar.

Sources: the OCI image layout and image manifest specifications; `docker save` writes manifest.json besides.
"""

import json
from typing import Any

from dcss.errors import ImageError
from dcss.image.sources.archive import Archive
from dcss.image.sources.tar_scan import TarScan


def layers_of(outer: TarScan) -> list[Archive] | None:
    """Return the layers of the image that a tar holds, lowest first, or None where it is an ordinary tar.

    Raises ImageError where it holds several images, or lacks what it names.
    """
    names = _docker_layers(outer)
    if names is None and "oci-layout" in outer.documents and "index.json" in outer.documents:
        names = _oci_layers(outer, _document(outer, "index.json"))
    return None if names is None else [outer.inner(name) for name in names]


def _docker_layers(outer: TarScan) -> list[str] | None:
    if "manifest.json" not in outer.documents:
        return None
    try:
        images = json.loads(outer.documents["manifest.json"])
    except ValueError:
        return None  # a manifest of another kind
    if not isinstance(images, list) or not all(isinstance(image, dict) and "Layers" in image for image in images):
        return None
    if len(images) != 1:
        tags = ", ".join(str(tag) for image in images for tag in image.get("RepoTags") or ["without a tag"])
        raise ImageError(f"{outer.archive.name}: found {len(images)} images ({tags}), wanted one: save one alone")
    layers = images[0]["Layers"]
    if layers is not None and not isinstance(layers, list):
        raise ImageError(f"{outer.archive.name}: manifest.json: Layers: found {layers!r}, wanted a list of names")
    return [str(name) for name in layers or ()]  # null, as Go writes an empty list


def _oci_layers(outer: TarScan, index: Any) -> list[str]:
    listed = [each for each in _list(outer, index, "manifests") if not _is_attestation(each)]
    found = list({str(each.get("digest")): each for each in listed}.values())  # several tags may name one image
    if len(found) != 1:
        kinds = ", ".join(_describe(each) for each in found) or "none"
        raise ImageError(f"{outer.archive.name}: found {len(found)} images ({kinds}), wanted one: save one alone")
    document = _document(outer, _blob(outer, found[0]))
    if "manifests" in document:  # an index of indexes
        return _oci_layers(outer, document)
    return [_blob(outer, layer) for layer in _list(outer, document, "layers")]


def _is_attestation(manifest: dict[str, Any]) -> bool:
    kind = (manifest.get("annotations") or {}).get("vnd.docker.reference.type")
    return kind == "attestation-manifest" or (manifest.get("platform") or {}).get("architecture") == "unknown"


def _describe(manifest: dict[str, Any]) -> str:
    platform = manifest.get("platform") or {}
    tag = (manifest.get("annotations") or {}).get("org.opencontainers.image.ref.name", "without a name")
    return f"{tag} {platform.get('os', '')}/{platform.get('architecture', '')}"


def _blob(outer: TarScan, descriptor: dict[str, Any]) -> str:
    algorithm, _, digest = str(descriptor.get("digest")).partition(":")
    if not digest:
        raise ImageError(f"{outer.archive.name}: found digest {descriptor.get('digest')}, wanted ALGORITHM:DIGEST")
    return f"blobs/{algorithm}/{digest}"


def _list(outer: TarScan, document: Any, name: str) -> list[dict[str, Any]]:
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ImageError(f"{outer.archive.name}: found no list of {name} in its manifest; save the image again")
    return found


def _document(outer: TarScan, name: str) -> Any:
    try:
        return json.loads(outer.documents[name])
    except (KeyError, ValueError) as error:
        raise ImageError(f"{outer.archive.name}: {name} is missing or no JSON ({error}); save it again") from error
