"""The JSON files of a container image, and the parts that they name.

Source: the OCI content descriptor specification.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from dcss.errors import ImageError
from dcss.image.sources.archive import Archive, in_memory
from dcss.image.sources.digests import Digest


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

    def names(self) -> Iterable[str]:
        """Return the names of all files."""
        ...

    def has(self, name: str) -> bool:
        """Return True if there is a file called `name`."""
        ...

    def part(self, name: str) -> Archive:
        """Return the file called `name` as it is stored. Raises ImageError where there is none."""
        ...


class Document(NamedTuple):
    """A mapping in a JSON file of the image; `where` names file and place in messages."""

    where: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, outer: ImageParts, name: str) -> "Document":
        """Return the document called `name`. Raises ImageError where there is none, or no mapping in it."""
        where = f"{outer.name}: {name}"
        return cls.parse(_wanted(outer.documents.get(name), where), where)

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Document":
        """Return the mapping that `content` holds. Raises ImageError where it is none."""
        return cls.mapped(where, parsed(content, where))

    @classmethod
    def mapped(cls, where: str, value: object) -> "Document":
        """Return `value`. Raises ImageError where it is no mapping."""
        if not isinstance(value, dict):
            raise ImageError(f"{where}: found {shown(value)}, wanted a mapping")
        return cls(where, value)

    def mapping(self, key: str) -> "Document":
        """Return the mapping at `key`, an empty one where there is none."""
        return self.mapped(f"{self.where}: {key}", {} if self.fields.get(key) is None else self.fields[key])

    def mappings(self, key: str) -> "list[Document]":
        """Return the list of mappings at `key`, an empty one for null. Raises ImageError where it is missing."""
        return [self.mapped(f"{self.where}: {key}[{i}]", each) for i, each in enumerate(self._list(key))]

    def texts(self, key: str) -> list[str]:
        """Return the list of texts at `key`, an empty one for null. Raises ImageError where it is missing."""
        found = self._list(key)
        for number, each in enumerate(found):
            if not isinstance(each, str):
                raise ImageError(f"{self.where}: {key}[{number}]: found {shown(each)}, wanted a text")
        return found

    def text(self, key: str, otherwise: str | None = None) -> str:
        """Return the text at `key`. Raises ImageError where there is none, and nothing `otherwise`."""
        found = self.fields.get(key, otherwise)
        if not isinstance(found, str):
            raise ImageError(f"{self.where}: {key}: found {shown(found)}, wanted a text")
        return found

    def _list(self, key: str) -> list[Any]:
        if key not in self.fields:
            raise ImageError(f"{self.where}: {key}: found nothing, wanted a list")
        found = self.fields[key]
        if found is None:  # as Go writes an empty list
            return []
        if not isinstance(found, list):
            raise ImageError(f"{self.where}: {key}: found {shown(found)}, wanted a list")
        return found


class Descriptor(NamedTuple):
    """What a document says of a part of the image: its digest, its size, and maybe its content."""

    document: Document
    digest: Digest
    embedded: bytes | None

    @classmethod
    def of(cls, document: Document) -> "Descriptor":
        """Read a descriptor. Raises ImageError where it is none, or has other content than its digest and size."""
        digest = Digest.parse(document.text("digest"), f"{document.where}: digest")
        embedded = _embedded(document)
        found = cls(document, digest, embedded)
        if embedded is not None:
            found._check(embedded, f"{document.where}: data")
        return found

    def read(self, outer: ImageParts) -> Document:
        """Return the document that it describes. Raises ImageError where it is missing or another one."""
        where = f"{outer.name}: {self.digest.blob}"
        content = _wanted(outer.documents.get(self.digest.blob, self.embedded), where)
        self._check(content, where)
        return Document.parse(content, where)

    def archive(self, outer: ImageParts) -> Archive:
        """Return the archive that it describes. Raises ImageError where it is missing, or has another size."""
        if self.embedded is not None and not outer.has(self.digest.blob):
            return in_memory(f"{self.document.where}: data", self.embedded)
        stored = outer.part(self.digest.blob)
        length_bytes = stored.length_bytes()
        if self.document.fields.get("size", length_bytes) != length_bytes:
            self.digest.check_archive(stored)  # what is wrong there says more
        self._check_size(length_bytes)
        return stored

    def _check(self, content: bytes, where: str) -> None:
        self.digest.check(content, where)
        self._check_size(len(content))

    def _check_size(self, length_bytes: int | None) -> None:
        found = self.document.fields.get("size", length_bytes)
        if found != length_bytes:
            raise ImageError(f"{self.document.where}: size: found {shown(found)}, wanted {length_bytes}, as it has")


def _embedded(document: Document) -> bytes | None:
    """Return the content that a descriptor carries in itself, or None."""
    if document.fields.get("data") is None:
        return None
    try:
        return base64.b64decode(document.text("data"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"{document.where}: data: found no base64 ({error}), wanted the content in it") from error


def _wanted(content: bytes | None, where: str) -> bytes:
    if content is None:
        raise ImageError(f"{where}: found no JSON there, wanted what the image's manifest names; save it again")
    return content


def parsed(content: bytes, where: str) -> object:
    """Return what JSON says. Raises ImageError where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{where}: found no JSON ({error}), wanted what an image has there; save it again") from error


def shown(value: object) -> str:
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
