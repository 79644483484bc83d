"""Evidence of a fleet: what each host's verdict was computed from, fetched into a directory of this machine."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcss.errors import ConfigError
from dcss.fleet import tasks
from dcss.fleet.cache import TransferError
from dcss.fleet.content import CHUNK_BYTES
from dcss.fleet.host_yaml import system_on
from dcss.fleet.hosts import HostAnswer, Hosts
from dcss.host.files import appearing_whole, errors_named, write_all


def evidence_path(directory: Path, system: str) -> Path:
    """Return the file of a directory that has the evidence of a host's system."""
    return directory / f"{system}.json.gz"


def check_evidence_directory(directory: Path) -> None:
    """Make the directory if it is not there. Raises ConfigError where nothing can be written into it."""
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--evidence: found {error.strerror} at {directory}, wanted a directory, or the name of a new one"
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(f"--evidence: found {directory} not writable, wanted a directory to write into")


def verify_with_evidence(hosts: Hosts, fleet: str, names: Sequence[str], directory: Path) -> dict[str, HostAnswer]:
    """Have hosts verify their systems, and write the evidence of each into the directory. Raises OSError.

    A host whose evidence does not arrive has the reason for its answer.
    """
    systems = {name: system_on(fleet, name) for name in names}
    answers = hosts.call(tasks.verify_with_evidence, {name: (system,) for name, system in systems.items()})
    written = {name: answer.value["evidence"] for name, answer in answers.items() if "evidence" in (answer.value or {})}
    for name, file in written.items():
        try:
            _fetch(hosts, name, file, evidence_path(directory, systems[name]))
        except TransferError as error:
            answers[name] = HostAnswer(None, str(error))
    hosts.call(tasks.forget_evidence, {name: (file["name"],) for name, file in written.items()})
    return answers


def _fetch(hosts: Hosts, host: str, file: Mapping[str, Any], path: Path) -> None:
    """Fetch a host's file in parts. Raises TransferError where it does not arrive, OSError where it cannot be kept."""
    with errors_named(path), appearing_whole(path) as descriptor:
        for _, answer in hosts.feed(tasks.read_evidence, {host: _parts(file)}):
            if answer.error is not None:
                raise TransferError(f"its evidence did not arrive: {answer.error}")
            os.lseek(descriptor, answer.value["start"], os.SEEK_SET)
            write_all(descriptor, answer.value["data"])
        os.lseek(descriptor, 0, os.SEEK_SET)
        with open(descriptor, "rb", closefd=False) as arrived:
            digest = hashlib.file_digest(arrived, "sha256").hexdigest()
        if digest != file["digest"]:
            raise TransferError(
                f"its evidence arrived with SHA-256 {digest[:12]}…, wanted {file['digest'][:12]}…;"
                " start the command again"
            )


def _parts(file: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments of `read_evidence` for each part of a file."""
    for start in range(0, file["size_bytes"], CHUNK_BYTES):
        yield file["name"], start, CHUNK_BYTES
