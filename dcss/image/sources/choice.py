"""Choose one of several container images, and what has been chosen: its layers."""

from collections.abc import Sequence
from typing import NamedTuple

from dcss.errors import ImageError
from dcss.image.sources.archive import Archive
from dcss.image.sources.digests import Digest
from dcss.image.sources.image_document import Document, ImageParts


class Layer(NamedTuple):
    """One layer as it is stored, maybe compressed, and the digests of that and of the tar in it, where known."""

    stored: Archive
    digest: Digest | None
    diff_id: Digest | None


def has_tag(wanted: str | None, tags: Sequence[str]) -> bool:
    """Say whether one of the tags is the one wanted: NAME:TAG, or the part behind the colon alone."""
    return wanted is None or any(tag == wanted or tag.rpartition(":")[2] == wanted for tag in tags)


def is_platform(wanted: str, platform: Document) -> bool:
    """Say whether OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT names a platform."""
    found = [platform.text(key, "") for key in ("os", "architecture", "variant")]
    parts = wanted.split("/")
    return parts == found[: len(parts)] and len(parts) in (2, 3)


def platform_of(platform: Document) -> str:
    """Return a platform as --platform names it."""
    parts = [platform.text(key, "") for key in ("os", "architecture", "variant")]
    return "/".join(parts[:2] + [part for part in parts[2:] if part])


def not_one(outer: ImageParts, count: int, listed: str) -> ImageError:
    """Return the error for another number of images than one."""
    return ImageError(
        f"{outer.name}: found {count} images ({listed}), wanted one: choose by platform and tag (--platform, --tag;"
        " platform: and tag: in the YAML), or save one alone"
    )


def diff_ids_of(config: Document, layers: int) -> Sequence[Digest | None]:
    """Return the digests of the layers' tars, as an image's configuration has them; none where it does not say."""
    rootfs = config.mapping("rootfs")
    if "diff_ids" not in rootfs.fields:
        return [None] * layers
    found = rootfs.texts("diff_ids")
    if len(found) != layers:
        raise ImageError(f"{rootfs.where}: diff_ids: found {len(found)}, wanted {layers}: one for each layer")
    return [Digest.parse(each, f"{rootfs.where}: diff_ids[{number}]") for number, each in enumerate(found)]
