"""The manifest of one system data file in the spool: JSON that carries the SHA-256 of its own content."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.cp.segments.segment import FileClass

FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 20  # many times what one of as many ranges as there may be takes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the spool knows of a system data file beside its content.

    `serial` grows with every file of the spool: of two versions of one name the higher is the newer. `digest` is the
    SHA-256 of the content in hex, None for a skeleton. `created` is UTC, as ISO 8601 writes it; `owner` is who defined
    a skeleton, who saved a segment.
    """

    spid: int
    serial: int
    file_class: FileClass
    definition: SegmentDefinition
    owner: str
    created: str
    digest: str | None = None

    def pack(self) -> bytes:
        """Return the manifest as it is stored."""
        return json.dumps(self.document(), indent=1).encode()

    def document(self) -> dict[str, object]:
        """Return the manifest as JSON has it, with its own digest."""
        definition = self.definition
        body: dict[str, object] = {
            "format": FORMAT,
            "spid": self.spid,
            "serial": self.serial,
            "class": self.file_class.value,
            "name": str(definition.name),
            "ranges": [str(page_range) for page_range in definition.ranges],
            "loadnshr": definition.load_non_shared,
            "rstd": definition.restricted,
            "secure": definition.secure,
            "owner": self.owner,
            "created": self.created,
            "digest": self.digest,
        }
        return {**body, "sha256": _digest(body)}

    @classmethod
    def unpack(cls, stored: bytes) -> "Manifest":
        """Read a stored manifest. Raises ValueError with what is wrong."""
        return cls.of_document(json.loads(stored))  # its own errors are ValueErrors

    @classmethod
    def of_document(cls, body: dict[str, Any]) -> "Manifest":
        """Read a manifest's JSON. Raises ValueError with what is wrong."""
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise ValueError(f"found no manifest of format {FORMAT}")
        found = body.pop("sha256", None)
        if found != _digest(body):
            raise ValueError(f"found digest {found}, wanted {_digest(body)}")
        return cls(
            spid=body["spid"],
            serial=body["serial"],
            file_class=FileClass(body["class"]),
            definition=SegmentDefinition(
                SegmentName(body["name"]),
                tuple(PageRange.parse(words) for words in body["ranges"]),
                load_non_shared=body["loadnshr"],
                restricted=body["rstd"],
                secure=body["secure"],
            ),
            owner=body["owner"],
            created=body["created"],
            digest=body["digest"],
        )


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def pack_joined(manifests: Sequence[Manifest]) -> bytes:
    """Return the manifest of a file that has the contents of several segments, one behind the other."""
    return json.dumps({"format": FORMAT, "segments": [each.document() for each in manifests]}, indent=1).encode()


def unpack_joined(stored: bytes) -> tuple[Manifest, ...]:
    """Read the manifest of a file that has one segment's content, or those of several. Raises ValueError."""
    body: Any = json.loads(stored)
    several = body.get("segments") if isinstance(body, dict) else None
    if several is None:
        return (Manifest.of_document(body),)
    if not isinstance(several, list) or not several:
        raise ValueError("found no list of segments")
    return tuple(map(Manifest.of_document, several))
