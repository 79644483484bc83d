"""Container images as sources: what docker saves, OCI layouts, and what is wrong in either."""

import base64
import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from container_support import Layout, config_of, digest_of, layer_tar, platform, unpacked
from image_support import Read, build
from tar_support import WriteMode, content, info, make_tar

from dcss.config.sources import DirectorySource, TarSource
from dcss.errors import ImageError
from dcss.image.sources.kind import source_of
from dcss.image.sources.tar import read_tar


def layers(mode: WriteMode) -> list[bytes]:
    return [
        layer_tar([(info("etc/a"), b"lower a"), (info("etc/b"), b"lower b"), (info("bin/sh"), content(9000, 5))], mode),
        layer_tar([(info("etc/.wh.a"), b""), (info("etc/b"), b"upper b")], mode),
    ]


def docker_save(mode: WriteMode) -> list[tuple[tarfile.TarInfo, bytes]]:
    first, second = layers(mode)
    manifest = [{"Config": "c.json", "RepoTags": ["x:latest"], "Layers": ["1/layer.tar", "2/layer.tar"]}]
    return [
        (info("3/layer.tar"), second),
        (info("1/layer.tar"), first),
        (info("2/layer.tar", tarfile.SYMTYPE, linkname="../3/layer.tar"), b""),
        (info("c.json"), config_of(first, second)),
        (info("manifest.json"), json.dumps(manifest).encode()),
    ]


def oci_layout(mode: WriteMode, *, extra: list[dict[str, Any]] | None = None) -> list[tuple[tarfile.TarInfo, bytes]]:
    layout = Layout()
    image = layout.image(*layers(mode), **platform("s390x"))
    attestation = layout.add({"layers": []}, **platform("unknown", "unknown"))
    return layout.members(layout.add({"manifests": [image, attestation, *(extra or [])]}))


@pytest.mark.parametrize("make", [docker_save, oci_layout])
@pytest.mark.parametrize("layer_mode", ["w:", "w:gz"])
@pytest.mark.parametrize("outer_mode", ["w:", "w:gz"])
def test_container_images(tmp_path: Path, make: Any, layer_mode: WriteMode, outer_mode: WriteMode) -> None:
    path = make_tar(tmp_path / "image.tar", make(layer_mode), outer_mode)
    build(TarSource(path), tmp_path / "x.img")
    read = Read(tmp_path / "x.img")
    assert read.content == {b"/etc/b": b"upper b", b"/bin/sh": content(9000, 5)}


def test_several_images_and_missing_layers_are_refused(tmp_path: Path) -> None:
    members = oci_layout("w:", extra=[{"digest": digest_of(b"x"), **platform("amd64")}])
    with pytest.raises(ImageError, match=r"found 2 images \(.*linux/s390x.*linux/amd64\), wanted one"):
        read_tar(TarSource(make_tar(tmp_path / "x.tar", members)))
    members = docker_save("w:")
    twice = json.dumps([*json.loads(members[4][1]), {"Layers": [], "RepoTags": ["y:1"]}]).encode()
    with pytest.raises(ImageError, match=r"found 2 images \(x:latest, y:1\), wanted one"):
        read_tar(TarSource(make_tar(tmp_path / "x.tar", [*members[:4], (info("manifest.json"), twice)])))
    with pytest.raises(ImageError, match=r"found no layer 1/layer\.tar, which its manifest names"):
        read_tar(TarSource(make_tar(tmp_path / "x.tar", [members[0], *members[2:]])))


def test_somebody_elses_manifest_is_a_file_like_any_other(tmp_path: Path) -> None:
    for raw in (b"[1, 2", b'[{"name": "web app"}]', b"{}"):
        root = read_tar(TarSource(make_tar(tmp_path / "x.tar", [(info("manifest.json"), raw)]))).root
        assert list(root.entries) == [b"manifest.json"]


def refused(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    path = make_tar(tmp_path / "x.tar", members)
    with pytest.raises(ImageError) as caught:
        read_tar(TarSource(path))
    return str(caught.value).removeprefix(f"{path}: ")


def without(members: list[tuple[tarfile.TarInfo, bytes]], name: str) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(member, data) for member, data in members if member.name != name]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "found no JSON"),
        (b"\x00\x01", "found no JSON"),
        (b'[{"Config": "c.json", "Lay', "found no JSON"),
        (b"{}", "found a mapping, wanted a list of images"),
        (b"[5]", "found 5, wanted a mapping"),
        (b'[{"Config": "c.json"}]', "Layers: found nothing, wanted a list"),
        (None, "found none beside the layers of an image"),
    ],
)
@pytest.mark.parametrize("digests_name", [True, False])
def test_a_damaged_manifest_of_docker_is_no_plain_tar(
    tmp_path: Path, raw: bytes | None, said: str, digests_name: bool
) -> None:
    names = "0" * 64 if digests_name else "1"
    members = [(info(f"{names}/layer.tar"), layers("w:")[0])]
    if raw is not None:
        members.append((info("manifest.json"), raw))
    if digests_name or raw == b'[{"Config": "c.json"}]':
        assert refused(tmp_path, members).startswith(f"manifest.json: {said}")
    else:  # nothing says that it is docker's
        assert read_tar(TarSource(make_tar(tmp_path / "x.tar", members))).root.entries


def test_a_damaged_index_of_a_layout_is_no_plain_tar(tmp_path: Path) -> None:
    members = oci_layout("w:")
    assert refused(tmp_path, without(members, "index.json")).startswith("index.json: found none beside oci-layout")
    for raw in (b"", b"\x00"):
        damaged = [*without(members, "index.json"), (info("index.json"), raw)]
        assert refused(tmp_path, damaged).startswith("index.json: found no JSON")


def test_somebody_elses_manifest_does_not_hide_a_layout(tmp_path: Path) -> None:
    members = [(info("manifest.json"), b'{"name": "web app"}'), *oci_layout("w:")]
    layout = [each for each in members if not each[0].name.startswith("blobs/")]
    assert "found no JSON there" in refused(tmp_path, layout)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_descriptor_embeds_is_read_and_checked(tmp_path: Path, kept: bool) -> None:
    layout = Layout()

    def embedded(content: bytes | object, **more: Any) -> dict[str, Any]:
        found = layout.add(content, **more)
        raw = layout.blobs[found["digest"]]
        if not kept:
            del layout.blobs[found["digest"]]
        return found | {"data": base64.b64encode(raw).decode()}

    stored = layers("w:gz")
    image = embedded({"config": embedded(config_of(*stored)), "layers": [embedded(each) for each in stored]})
    path = make_tar(tmp_path / "x.tar", layout.members(image))
    build(TarSource(path), tmp_path / "x.img")
    assert Read(tmp_path / "x.img").content == {b"/etc/b": b"upper b", b"/bin/sh": content(9000, 5)}
    for data, said in (
        (5, "data: found 5, wanted a text"),
        ("e30", "data: found no base64"),
        ("e30=", f"data: found digest {digest_of(b'{}')}"),
    ):
        assert said in refused(tmp_path, layout.members(image | {"data": data}))


@pytest.mark.parametrize("which", ["manifest", "config", "layer", "index"])
def test_sizes_of_descriptors_are_checked(tmp_path: Path, which: str) -> None:
    layout = Layout()
    wrong = {each: {"size": 5} if each == which else {} for each in ("manifest", "config", "layer", "index")}
    stored = layers("w:")[0]
    config = layout.add(config_of(stored)) | wrong["config"]
    manifest = layout.add({"config": config, "layers": [layout.add(stored) | wrong["layer"]]}) | wrong["manifest"]
    index = layout.add({"manifests": [manifest]}) | wrong["index"]
    assert "size: found 5, wanted " in refused(tmp_path, layout.members(index))


def test_an_image_without_layers_is_empty(tmp_path: Path) -> None:
    for raw in (b'[{"Layers": null}]', b'[{"Layers": []}]'):
        path = make_tar(tmp_path / "x.tar", [(info("manifest.json"), raw)])
        assert not read_tar(TarSource(path)).root.entries
    layout = Layout()
    assert not read_tar(TarSource(make_tar(tmp_path / "x.tar", layout.members(layout.image())))).root.entries


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"Layers": 5}, "manifest.json: Layers: found 5, wanted a list"),
        ({"Layers": [5]}, "manifest.json: Layers[0]: found 5, wanted a text"),
        ({"Layers": [], "Config": 5}, "manifest.json: Config: found 5, wanted a text"),
        ({"Layers": [], "Config": "nothing.json"}, "nothing.json: found no JSON there"),
        ({"Layers": [], "Config": "list.json"}, "list.json: found a list, wanted a mapping"),
        ({"Layers": [], "Config": "no.json"}, "no.json: found no JSON (Expecting"),
        ({"Layers": [], "Config": "rootfs.json"}, "rootfs.json: rootfs: found 'x', wanted a mapping"),
        ({"Layers": [], "Config": "more.json"}, "more.json: rootfs: diff_ids: found 1, wanted 0: one for each layer"),
        ({"Layers": ["a"]}, "found no layer a, which its manifest names"),
    ],
)
def test_nonsense_of_docker_names_file_and_key(tmp_path: Path, manifest: dict[str, Any], said: str) -> None:
    files = {
        "list.json": b"[1]",
        "no.json": b"{x",
        "rootfs.json": b'{"rootfs": "x"}',
        "more.json": b'{"rootfs": {"diff_ids": ["sha256:1"]}}',
        "manifest.json": json.dumps([manifest]).encode(),
    }
    assert refused(tmp_path, [(info(name), content) for name, content in files.items()]).startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": {}}, "layers: found a mapping, wanted a list"),
        ({"layers": ["x"]}, "layers[0]: found 'x', wanted a mapping"),
        ({"layers": [{}]}, "layers[0]: digest: found nothing, wanted a text"),
        ({"layers": [{"digest": "sha256:12"}]}, "layers[0]: digest: found 'sha256:12', wanted sha256: and 64 hex"),
        ({"layers": [{"digest": "md5:" + "0" * 32}]}, "layers[0]: digest: found 'md5:000"),
        ({"layers": [{"digest": "sha256:../../../etc/passwd"}]}, "layers[0]: digest: found 'sha256:../../"),
        ({"config": []}, "config: found a list, wanted a mapping"),
        ({"config": {"digest": 5}}, "config: digest: found 5, wanted a text"),
    ],
)
def test_nonsense_of_a_layout_names_file_and_key(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    layout = Layout()
    (layer,) = (layer_tar([(info("a"), b"a")], "w:"),)
    manifest: dict[str, Any] = {"config": layout.add(config_of(layer)), "layers": [layout.add(layer)]}
    image = layout.add(manifest | change)
    where = image["digest"].replace("sha256:", "blobs/sha256/")
    assert refused(tmp_path, layout.members(image)).startswith(f"{where}: {said}")


def test_an_index_of_nonsense(tmp_path: Path) -> None:
    for raw, said in (
        (b"[]", "index.json: found a list, wanted a mapping"),
        (b"{}", "index.json: manifests: found nothing, wanted a list"),
        (b'{"manifests": null}', "found 0 images (none), wanted one"),
        (b'{"manifests": [[]]}', "index.json: manifests[0]: found a list, wanted a mapping"),
        (b"{" * 5000, "index.json: found no JSON"),
        (b'{"manifests": [{"digest": "\\ud800"}]}', "index.json: manifests[0]: digest: found '\\ud800', wanted"),
    ):
        members = [(info("oci-layout"), b"{}"), (info("index.json"), raw)]
        assert refused(tmp_path, members).startswith(said)


def test_indexes_in_a_circle_end(tmp_path: Path) -> None:
    layout = Layout()
    image = layout.image()
    for _ in range(20):
        image = layout.add({"manifests": [image]})
    assert "more than 8 deep" in refused(tmp_path, layout.members(image))


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
@pytest.mark.parametrize("outer_mode", ["w:", "w:gz"])
@pytest.mark.parametrize("make", [docker_save, oci_layout])
def test_a_layer_of_other_bytes_is_refused(tmp_path: Path, make: Any, mode: WriteMode, outer_mode: WriteMode) -> None:
    members = make(mode)
    other = layer_tar([(info("evil"), b"evil")], mode)
    stored = layers(mode)[0]
    changed = [(member, other if content == stored else content) for member, content in members]
    path = make_tar(tmp_path / "x.tar", changed, outer_mode)
    with pytest.raises(ImageError) as caught:
        read_tar(TarSource(path))
    found, wanted = (digest_of(unpacked(each) if make is docker_save else each) for each in (other, stored))
    assert f"found digest {found}, wanted {wanted}" in str(caught.value)


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
@pytest.mark.parametrize("size_bytes", [700, 1024])
def test_a_layer_may_end_with_its_last_data(tmp_path: Path, mode: WriteMode, size_bytes: int) -> None:
    """umoci insert writes such layers; a digest says that nothing is lost, and a tar without one is cut short."""
    layer = layer_tar([(info("a"), content(size_bytes, 1))], "w:")[: 512 + size_bytes]
    for length, good in ((512 + size_bytes, True), (512 + size_bytes - 1, False)):
        layout = Layout()
        cut = layer[:length] if mode == "w:" else gzip.compress(layer[:length], mtime=0)
        members = layout.members(layout.image(cut))
        if good:
            build(TarSource(make_tar(tmp_path / "x.tar", members)), tmp_path / "x.img")
            assert Read(tmp_path / "x.img").content == {b"/a": content(size_bytes, 1)}
        else:
            assert "cut short" in refused(tmp_path, members)
    if size_bytes % 512:
        (tmp_path / "y.tar").write_bytes(layer)
        with pytest.raises(ImageError, match="cut short"):
            read_tar(TarSource(tmp_path / "y.tar"))


def test_diff_ids_are_checked_beside_digests(tmp_path: Path) -> None:
    layout = Layout("sha512")
    layer = layer_tar([(info("a"), b"a")], "w:gz")
    manifest = {"config": layout.add(config_of(b"another tar")), "layers": [layout.add(layer)]}
    said = refused(tmp_path, layout.members(layout.add(manifest)))
    assert f"found digest {digest_of(unpacked(layer))}, wanted {digest_of(b'another tar')}" in said


def test_manifest_config_and_size_must_be_those_of_their_descriptors(tmp_path: Path) -> None:
    layout = Layout()
    image = layout.image(layer_tar([(info("a"), b"a")], "w:"))
    for name, raw in list(layout.blobs.items()):
        if not raw.startswith(b"{"):
            continue
        changed = Layout()
        changed.blobs = layout.blobs | {name: raw + b" "}
        said = refused(tmp_path, changed.members(image))
        assert said.startswith(f"blobs/{name.replace(':', '/')}: found digest {digest_of(raw + b' ')}, wanted {name}")
    layer = layout.add(layer_tar([(info("a"), b"a")], "w:"))
    image = layout.add({"layers": [layer | {"size": 5}]})
    assert f"layers[0]: size: found 5, wanted {layer['size']}, as it has" in refused(tmp_path, layout.members(image))


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_a_layer_that_is_distributed_elsewhere_is_named(tmp_path: Path, kind: str) -> None:
    layout = Layout()
    image = layout.add({"layers": [{"digest": digest_of(b"elsewhere"), "mediaType": kind}]})
    assert f"found a layer that is not in the archive (mediaType {kind})" in refused(tmp_path, layout.members(image))


def test_two_tags_of_one_digest_are_one_image(tmp_path: Path) -> None:
    layout = Layout()
    image = layout.image(*layers("w:"))
    tags = [image | {"annotations": {"org.opencontainers.image.ref.name": tag}} for tag in ("1", "latest")]
    tree = read_tar(TarSource(make_tar(tmp_path / "x.tar", layout.members(*tags))))
    assert set(tree.root.entries) == {b"etc", b"bin"}


def several(layout: Layout) -> list[dict[str, Any]]:
    """Return two tags, of which one is for two platforms."""
    one = {"annotations": {"org.opencontainers.image.ref.name": "one"}}
    two = {"annotations": {"org.opencontainers.image.ref.name": "two"}}

    def image(name: str, **more: Any) -> dict[str, Any]:
        return layout.image(layer_tar([(info(name), b"x")], "w:"), **more)

    platforms = [image(f"one-{each}", **platform(each)) for each in ("s390x", "amd64")]
    return [layout.add({"manifests": platforms}, **one), image("two", **two)]


@pytest.mark.parametrize("as_directory", [False, True])
@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"tag": "two"}, b"two"),
        ({"tag": "one", "platform": "linux/s390x"}, b"one-s390x"),
        ({"tag": "one", "platform": "linux/amd64"}, b"one-amd64"),
        ({"tag": "one"}, "found 2 images (without a name linux/s390x, without a name linux/amd64), wanted one: choose"),
        ({"tag": "three"}, "found 0 images (one /, two /), wanted one: choose"),
        ({"tag": "one", "platform": "linux/arm64"}, "found 0 images (without a name linux/s390x, without"),
        ({}, "found 2 images (one /, two /), wanted one: choose"),
    ],
)
def test_one_of_several_images_is_chosen(
    tmp_path: Path, as_directory: bool, choice: dict[str, str], found: bytes | str
) -> None:
    layout = Layout()
    members = layout.members(*several(layout))
    path = tmp_path / "layout"
    if as_directory:
        for member, content in members:
            (path / member.name).parent.mkdir(parents=True, exist_ok=True)
            (path / member.name).write_bytes(content)
    else:
        make_tar(path, members)
    if isinstance(found, bytes):
        assert list(read_tar(TarSource(path, **choice)).root.entries) == [found]
        return
    with pytest.raises(ImageError) as caught:
        read_tar(TarSource(path, **choice))
    assert found in str(caught.value)


def test_one_of_dockers_images_is_chosen_by_its_tag(tmp_path: Path) -> None:
    members = docker_save("w:")
    other = {"Config": "d.json", "RepoTags": ["y:1"], "Layers": []}
    manifests = json.dumps([*json.loads(members[4][1]), other]).encode()
    config = json.dumps({"os": "linux", "architecture": "s390x", "rootfs": {"diff_ids": []}}).encode()
    path = make_tar(tmp_path / "x.tar", [*members[:4], (info("manifest.json"), manifests), (info("d.json"), config)])
    for tag in ("y:1", "1"):
        assert not read_tar(TarSource(path, "linux/s390x", tag)).root.entries
    assert set(read_tar(TarSource(path, tag="latest")).root.entries) == {b"etc", b"bin"}
    with pytest.raises(ImageError, match=r"found 0 images \(linux/s390x\), wanted one"):
        read_tar(TarSource(path, "linux/amd64", "y:1"))


def test_a_choice_of_what_is_no_image_is_refused(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", [(info("a"), b"a")])
    with pytest.raises(ImageError, match="found no container image, wanted one"):
        read_tar(TarSource(path, tag="x"))


def test_what_docker_saved_is_an_image_unpacked_too(tmp_path: Path) -> None:
    with tarfile.open(make_tar(tmp_path / "x.tar", docker_save("w:gz"))) as saved:
        saved.extractall(tmp_path / "saved", filter="data")
    source = source_of(tmp_path / "saved")
    build(source, tmp_path / "x.img")
    assert Read(tmp_path / "x.img").content == {b"/etc/b": b"upper b", b"/bin/sh": content(9000, 5)}
    outside = tmp_path / "saved/2/layer.tar"
    outside.unlink()
    (tmp_path / "other.tar").write_bytes(layers("w:")[0])
    outside.symlink_to("../../other.tar")
    with pytest.raises(ImageError, match=r"found no layer 2/layer\.tar"):
        read_tar(TarSource(tmp_path / "saved"))
    (tmp_path / "saved/manifest.json").write_text("{}")
    assert isinstance(source_of(tmp_path / "saved"), DirectorySource)
    (tmp_path / "saved" / f"{'0' * 64}.json").touch()
    with pytest.raises(ImageError, match="found a mapping, wanted a list of images"):
        source_of(tmp_path / "saved")


def test_a_layout_without_its_index_is_no_plain_directory(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text("{}")
    with pytest.raises(ImageError, match=r"index\.json: found none beside oci-layout"):
        read_tar(TarSource(tmp_path))
    assert isinstance(source_of(tmp_path), TarSource)


def test_another_form_of_skopeo_is_named(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("Directory Transport Version: 1.1\n")
    assert isinstance(source_of(tmp_path), DirectorySource)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ImageError, match=f"found an image of skopeo's dir:, .* skopeo copy dir:{tmp_path} oci:LAYOUT"):
        source_of(tmp_path)


def test_a_layout_cannot_lead_out_of_its_directory(tmp_path: Path) -> None:
    layout = Layout()
    path = tmp_path / "layout"
    path.mkdir()
    (tmp_path / "secret").write_text("{}")
    for member, raw in layout.members({"digest": "sha256:../../../secret"}):
        (path / member.name).write_bytes(raw)
    with pytest.raises(ImageError, match=r"found 'sha256:\.\./\.\./\.\./secret', wanted sha256: and 64 hex digits"):
        read_tar(TarSource(path))
