"""Files that will be written once work is done, looked at before it begins."""

import os
from pathlib import Path

from dcss.errors import ConfigError


def check_written_path(option: str, path: Path) -> None:
    """Raise ConfigError where an option's file cannot be written, before anything is started for it."""
    try:
        path.exists()
    except OSError as error:  # a directory on the way may not be entered
        raise ConfigError(f"{option}: found {error.strerror} at {path}, wanted a file to write") from error
    if path.is_dir():
        raise ConfigError(f"{option}: found a directory at {path}, wanted a file to write")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{option}: found no regular file at {path}, wanted one, or a new one, to write")
    if not path.parent.is_dir():
        raise ConfigError(f"{option}: found no directory {path.parent}, wanted one to write {path.name} into")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{option}: found {path} not writable, wanted a file to write")
