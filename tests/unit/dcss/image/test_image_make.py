"""What `dcss image build` makes: one image of a source, or those of a configuration, each whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from image_support import Read
from tar_support import info, make_tar

from dcss.config.sources import Choice, DirectorySource, TarSource
from dcss.errors import ConfigError, ImageError
from dcss.host.files import appearing_whole
from dcss.image.make import WantedImage, make_image, standard_input, wanted_images
from dcss.progress import SilentProgress

NONE = Choice()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"content")
    return tree


def wanted(source: Path, output: Path, choice: Choice = NONE, **options: int | None) -> list[WantedImage]:
    return list(wanted_images(source, output, options.get("address"), options.get("size_bytes"), choice))


def config(tmp_path: Path, *segments: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("segments:\n" + "".join(f"  - {{{segment}}}\n" for segment in segments))
    return path


def test_a_directory_becomes_one_image(tree: Path, tmp_path: Path) -> None:
    (found,) = wanted(tree, tmp_path / "x.img")
    assert found == WantedImage(DirectorySource(tree), tmp_path / "x.img", (), 0, None)
    (placed,) = wanted(tree, tmp_path / "x.img", address=0x20000000, size_bytes=1 << 20)
    assert (placed.address, placed.size_bytes) == (0x20000000, 1 << 20)
    made = make_image(placed, SilentProgress())
    assert (made.path, made.segment, made.address, made.size_bytes) == (tmp_path / "x.img", None, 0x20000000, 1 << 20)
    assert (made.content_bytes, made.files, made.left_out, made.notes) == (7, 1, 0, ())
    form = made.form()
    assert (form["path"], form["size_bytes"]) == (str(tmp_path / "x.img"), 1 << 20)
    assert form["seconds"] == round(made.seconds, 3)
    assert 0 < made.seconds < 60
    assert Read(tmp_path / "x.img").content[b"/file"] == b"content"


def test_a_choice_is_for_container_images(tree: Path, tmp_path: Path) -> None:
    choice = Choice("linux/s390x", "latest")
    with pytest.raises(ConfigError, match="found --platform or --tag, wanted these beside a container image only"):
        wanted(tree, tmp_path / "x.img", choice)
    make_tar(tmp_path / "x.tar", [(info("file"), b"x")])
    (found,) = wanted(tmp_path / "x.tar", tmp_path / "x.img", choice)
    assert isinstance(found.source, TarSource)
    assert (found.source.platform, found.source.tag) == choice


def test_images_are_not_written_over_directories_or_into_their_own_source(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no/such: found nothing there"):
        wanted(tmp_path / "no/such", tmp_path / "x.img")
    with pytest.raises(ImageError, match="found a directory, wanted the name of the image to write"):
        wanted(tree, tmp_path)
    with pytest.raises(ImageError, match="of which it is made: write it somewhere else"):
        wanted(tree, tree / "x.img")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ImageError, match="fifo: found no regular file, wanted one or none"):
        make_image(WantedImage(DirectorySource(tree), tmp_path / "fifo", (), 0, None), SilentProgress())


def test_the_one_image_of_a_configuration_is_the_file_that_is_named(tree: Path, tmp_path: Path) -> None:
    path = config(tmp_path, f"name: LIB, at: 0x20000000, size: 1M, image: {{directory: '{tree}'}}", "name: SAVED")
    (found,) = wanted(path, tmp_path / "x.img")
    assert (found.path, found.address, found.size_bytes) == (tmp_path / "x.img", 0x20000000, 1 << 20)
    assert [segment.name for segment in found.segments] == ["LIB"]
    (tmp_path / "out").mkdir()
    (inside,) = wanted(path, tmp_path / "out")
    assert inside.path == tmp_path / "out/LIB.img"
    assert make_image(inside, SilentProgress()).segment == "LIB"


def test_several_images_of_a_configuration_go_into_a_directory(tree: Path, tmp_path: Path) -> None:
    path = config(
        tmp_path,
        f"name: A, at: 0x20000000, size: 1M, image: {{directory: '{tree}'}}",
        "name: B, at: 0x20100000, size: 2M, image: {continues: A}",
        f"name: C, at: 0x30000000, image: {{directory: '{tree}'}}",
    )
    joined, single = wanted(path, tmp_path / "out")
    assert (joined.path, joined.size_bytes) == (tmp_path / "out/A-B.img", 3 << 20)
    assert (single.path, single.size_bytes, single.address) == (tmp_path / "out/C.img", None, 0x30000000)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match="file: found a file, wanted a directory for 2 images"):
        wanted(path, tmp_path / "file")


def test_options_contradict_a_configuration(tree: Path, tmp_path: Path) -> None:
    path = config(tmp_path, f"name: A, at: 0x20000000, image: {{directory: '{tree}'}}")
    for choice, options in ((NONE, {"address": 0}), (NONE, {"size_bytes": 4096}), (Choice(None, "latest"), {})):
        with pytest.raises(ConfigError, match="which says these for each segment"):
            wanted(path, tmp_path / "x.img", choice, **options)
    with pytest.raises(ConfigError, match="found no segment with an image, wanted one at least"):
        wanted(config(tmp_path, "name: SAVED"), tmp_path / "x.img")


def test_a_build_that_fails_leaves_what_was_there(tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.img"
    output.write_bytes(b"before")
    (too_small,) = wanted(tree, output, size_bytes=4096)
    with pytest.raises(ImageError, match="needs"):
        make_image(too_small, SilentProgress())
    with pytest.raises(ZeroDivisionError), appearing_whole(output):
        raise ZeroDivisionError
    assert output.read_bytes() == b"before"
    with appearing_whole(tmp_path / "new/dir/y.img") as descriptor:
        os.write(descriptor, b"whole")
    assert (tmp_path / "new/dir/y.img").read_bytes() == b"whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "tree", "x.img"]


@contextmanager
def standing_input(descriptor: int) -> Iterator[None]:
    """Have a descriptor be standard input."""
    before = os.dup(0)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_an_archive_is_read_from_standard_input_whatever_that_is(tmp_path: Path) -> None:
    content = make_tar(tmp_path / "x.tar", [(info("file"), b"content")]).read_bytes()
    with standing_input(os.open(tmp_path / "x.tar", os.O_RDONLY)), standard_input(Choice(None, "v1")) as source:
        assert isinstance(source, TarSource)
        assert (source.path, source.tag, source.label) == (Path("/proc/self/fd/0"), "v1", "standard input")
        assert source.path.read_bytes() == content
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    with standing_input(reader), standard_input(NONE) as source:
        assert isinstance(source, TarSource)
        assert source.path != Path("/proc/self/fd/0")
        assert source.path.read_bytes() == content == source.path.read_bytes()


def test_a_terminal_is_no_archive() -> None:
    controller, terminal = os.openpty()
    with standing_input(terminal), pytest.raises(ConfigError, match="found a terminal"), standard_input(NONE):
        pass
    os.close(controller)
