"""Files by whose names a directory is known to be a container image."""

from pathlib import Path
from typing import Final

OCI_LAYOUT: Final = "oci-layout"
MANIFEST: Final = "manifest.json"  # of `docker save`, and of skopeo's dir:


def may_be_image(path: Path) -> bool:
    """Return whether a directory has a file that container images have; others have such files too."""
    return (path / OCI_LAYOUT).is_file() or (path / MANIFEST).is_file()
