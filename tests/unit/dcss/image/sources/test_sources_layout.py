"""The short files of a layout in a directory, read by their names."""

from pathlib import Path

import pytest

from dcss.image.sources.layout import _Documents


def test_documents_are_files_inside_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "layout"
    (directory / "blobs").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"outside")
    (directory / "index.json").write_bytes(b"{}")
    (directory / "blobs/a").write_bytes(b"a")
    documents = _Documents(directory)
    assert (documents["index.json"], documents["blobs/a"], documents.get("none")) == (b"{}", b"a", None)
    assert (sorted(documents), len(documents)) == (["blobs", "index.json"], 2)
    for name in ("blobs", "../outside", str(tmp_path / "outside"), "blobs/../index.json"):
        with pytest.raises(KeyError):
            documents[name]
