"""Container images as `docker save` and OCI layouts have them, made without either."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tar_support import WriteMode, info, make_tar


def layer_tar(members: list[tuple[tarfile.TarInfo, bytes]], mode: WriteMode) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    # tarfile's own gzip has the time in it: a layer would have another digest a second later.
    return gzip.compress(out.getvalue(), mtime=0) if mode == "w:gz" else out.getvalue()


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def unpacked(layer: bytes) -> bytes:
    return gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer


def config_of(*layers: bytes) -> bytes:
    return json.dumps(
        {"rootfs": {"type": "layers", "diff_ids": [digest_of(unpacked(each)) for each in layers]}}
    ).encode()


class Layout:
    """An OCI image layout: blobs by their digest, and an index."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self.blobs: dict[str, bytes] = {}

    def add(self, content: bytes | object, **more: Any) -> dict[str, Any]:
        """Keep a blob, JSON where it is no bytes, and return its descriptor."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        name = digest_of(raw, self.algorithm)
        self.blobs[name] = raw
        return {"digest": name, "size": len(raw), **more}

    def image(self, *stored: bytes, **more: Any) -> dict[str, Any]:
        """Keep an image of these layers, and return its descriptor."""
        manifest = {"config": self.add(config_of(*stored)), "layers": [self.add(each) for each in stored]}
        return self.add(manifest, **more)

    def members(self, *manifests: dict[str, Any]) -> list[tuple[tarfile.TarInfo, bytes]]:
        """Return the members of a tar with an index of `manifests`."""
        return [
            (info("oci-layout"), b'{"imageLayoutVersion": "1.0.0"}'),
            (info("index.json"), json.dumps({"manifests": manifests}).encode()),
            *((info(f"blobs/{name.replace(':', '/')}"), content) for name, content in self.blobs.items()),
        ]


def platform(architecture: str, system: str = "linux") -> dict[str, Any]:
    return {"platform": {"architecture": architecture, "os": system}}


def docker_archive(path: Path, *trees: Path) -> Path:
    """Write what `docker save` writes of an image whose layers are these trees, and return its path."""
    layers = [_layer_of(tree) for tree in trees]
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "c.json", "RepoTags": ["x:latest"], "Layers": names}]
    members = [(info(name), layer) for name, layer in zip(names, layers, strict=True)]
    members += [(info("c.json"), config_of(*layers)), (info("manifest.json"), json.dumps(manifest).encode())]
    return make_tar(path, members)


def oci_archive(path: Path, *trees: Path) -> Path:
    """Write a tar of an OCI layout with an image whose layers are these trees, and return its path."""
    layout = Layout()
    return make_tar(path, layout.members(layout.image(*map(_layer_of, trees))))


def _layer_of(tree: Path) -> bytes:
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    return layer_tar([(info(str(path.relative_to(tree))), path.read_bytes()) for path in files], "w:gz")
