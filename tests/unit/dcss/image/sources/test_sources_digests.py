"""Digests of an image's parts: how they are written, and that all of a part is hashed, however long it is."""

import hashlib
import io

import pytest

from dcss.errors import ImageError
from dcss.image.sources.archive import in_memory
from dcss.image.sources.digests import Digest, HashingReader

LONG = bytes(range(256)) * (3 << 12) + b"rest"  # three pieces and a bit


def digest_of(content: bytes, algorithm: str = "sha256") -> Digest:
    return Digest(algorithm, hashlib.new(algorithm, content).hexdigest())


@pytest.mark.parametrize(("algorithm", "count"), [("sha256", 64), ("sha512", 128)])
def test_how_it_is_written(algorithm: str, count: int) -> None:
    digest = Digest.parse(f"{algorithm}:{'0a' * (count // 2)}", "x")
    assert digest == (algorithm, "0a" * (count // 2))
    assert str(digest) == f"{algorithm}:{'0a' * (count // 2)}"
    assert digest.blob == f"blobs/{algorithm}/{'0a' * (count // 2)}"
    for text in (f"{algorithm}:{'a' * (count - 1)}", f"{algorithm}:{'a' * (count + 1)}", f"{algorithm}:{'A' * count}"):
        with pytest.raises(ImageError, match=r"x: found .*, wanted sha256: and 64 hex digits or sha512: and 128 hex"):
            Digest.parse(text, "x")


@pytest.mark.parametrize("content", [b"", b"short", LONG[: 1 << 20], LONG])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_all_of_an_archive_is_hashed(content: bytes, algorithm: str) -> None:
    digest = digest_of(content, algorithm)
    digest.check(content, "x")
    digest.check_archive(in_memory("x", content))
    for other in (content + b"!", content[:-1] if content else b"?"):
        with pytest.raises(ImageError, match=rf"^x: found digest {algorithm}:.*, wanted {digest}, as the image says"):
            digest.check_archive(in_memory("x", other))
        with pytest.raises(ImageError, match=f"x: found digest {digest_of(other, algorithm)}, wanted {digest}"):
            digest.check(other, "x")


def test_what_passes_through_is_hashed() -> None:
    reader = HashingReader(io.BufferedReader(io.BytesIO(LONG)), digest_of(LONG))
    buffered = reader.buffered()
    assert reader.readable()
    assert buffered.read(100) == LONG[:100]
    with pytest.raises(ImageError, match="x: found digest"):
        reader.check("x")
    assert buffered.read() == LONG[100:]
    reader.check("x")
