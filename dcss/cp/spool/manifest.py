"""The manifest of one system data file in the spool: JSON that carries the SHA-256 of its own content."""

import hashlib
import json
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
        return json.dumps({**body, "sha256": _digest(body)}, indent=1).encode()

    @classmethod
    def unpack(cls, stored: bytes) -> "Manifest":
        """Read a stored manifest. Raises ValueError with what is wrong."""
        body: dict[str, Any] = json.loads(stored)  # its own errors are ValueErrors
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
