"""Documents of container images: what each accessor takes, and what it says of anything else."""

from typing import Any

import pytest

from dcss.errors import ImageError
from dcss.image.sources.choice import diff_ids_of, has_tag, is_platform, platform_of
from dcss.image.sources.image_document import Document, shown

HEX = "0a" * 32


def document(**fields: Any) -> Document:
    return Document("x", fields)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        ({"a": 1}, "a mapping"),
        ([1], "a list"),
        (5, "5"),
        ("é", r"'\xe9'"),
        ("a" * 58, f"'{'a' * 58}'"),
        ("a" * 59, f"'{'a' * 58}…"),
        (True, "True"),
    ],
)
def test_how_values_are_named(value: object, words: str) -> None:
    assert shown(value) == words


def test_texts_and_lists_and_mappings() -> None:
    found = document(text="t", texts=["a", "b"], empty=None, inner={"k": "v"}, many=[{"k": "1"}, {"k": "2"}])
    assert found.text("text") == "t"
    assert found.text("none", "other") == "other"
    assert found.texts("texts") == ["a", "b"]
    assert found.texts("empty") == found.mappings("empty") == []
    assert found.mapping("inner") == Document("x: inner", {"k": "v"})
    assert found.mapping("none") == found.mapping("empty")._replace(where="x: none") == Document("x: none", {})
    assert found.mappings("many") == [Document("x: many[0]", {"k": "1"}), Document("x: many[1]", {"k": "2"})]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda found: found.text("number"), "x: number: found 5, wanted a text"),
        (lambda found: found.text("none"), "x: none: found nothing, wanted a text"),
        (lambda found: found.text("number", "other"), "x: number: found 5, wanted a text"),
        (lambda found: found.texts("none"), "x: none: found nothing, wanted a list"),
        (lambda found: found.texts("number"), "x: number: found 5, wanted a list"),
        (lambda found: found.texts("mixed"), r"x: mixed\[1\]: found 7, wanted a text"),
        (lambda found: found.mappings("mixed"), r"x: mixed\[0\]: found 'a', wanted a mapping"),
        (lambda found: found.mapping("number"), "x: number: found 5, wanted a mapping"),
        (lambda _: Document.parse(b"[]", "y"), "y: found a list, wanted a mapping"),
        (lambda _: Document.parse(b"{", "y"), r"y: found no JSON \(.*\), wanted what an image has there"),
        (lambda _: Document.parse(b"\xff", "y"), r"y: found no JSON \(.*\)"),
        (lambda _: Document.parse(b"[" * 100_000, "y"), r"y: found no JSON \(.*\)"),
    ],
)
def test_what_is_something_else_is_named(call: Any, message: str) -> None:
    with pytest.raises(ImageError, match=f"^{message}"):
        call(document(number=5, mixed=["a", 7]))


def test_tags() -> None:
    tags = ["name:one", "registry:5000/name:two"]
    assert has_tag(None, [])
    assert [has_tag(tag, tags) for tag in ("one", "name:one", "two", "registry:5000/name:two")] == [True] * 4
    assert [has_tag(tag, tags) for tag in ("name", "three", "", "name:two")] == [False] * 4
    assert not has_tag("one", [])


def test_platforms() -> None:
    arm, plain = document(os="linux", architecture="arm", variant="v7"), document(os="linux", architecture="s390x")
    assert [is_platform(each, arm) for each in ("linux/arm", "linux/arm/v7")] == [True, True]
    for wanted in ("linux", "linux/arm/v8", "linux/s390x", "linux/arm/v7/x", "arm/linux", ""):
        assert not is_platform(wanted, arm)
    assert is_platform("linux/s390x", plain)
    assert not is_platform("linux/s390x/v1", plain)
    assert (platform_of(arm), platform_of(plain), platform_of(document())) == ("linux/arm/v7", "linux/s390x", "/")


def test_digests_of_layers() -> None:
    assert diff_ids_of(document(), 2) == [None, None]
    found = diff_ids_of(document(rootfs={"diff_ids": [f"sha256:{HEX}"]}), 1)
    assert [str(each) for each in found] == [f"sha256:{HEX}"]
    for count in (0, 2):
        with pytest.raises(ImageError, match=f"x: rootfs: diff_ids: found 1, wanted {count}: one for each layer"):
            diff_ids_of(document(rootfs={"diff_ids": [f"sha256:{HEX}"]}), count)
    with pytest.raises(ImageError, match=r"x: rootfs: diff_ids\[0\]: found 'md5:1'"):
        diff_ids_of(document(rootfs={"diff_ids": ["md5:1"]}), 1)
