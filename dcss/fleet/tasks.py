"""What runs on a host, by the name of these functions: it may run twice, and then finds done what is done.

`base` is the directory of a host that stands in for one on this machine; None on a host of its own, whose environment
says where things are. Nothing is forked here: systems are started by the `dcss` command.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from dcss.documents import from_document
from dcss.fleet.cache import SegmentCache, TransferError
from dcss.fleet.content import Chunk, Content
from dcss.fleet.host_yaml import with_images
from dcss.host.files import open_regular, write_all, write_durably
from dcss.host.memory import available_memory_bytes
from dcss.host.paths import cache_directory, private_directory, runtime_directory
from dcss.version import VERSION

Answer = dict[str, Any]
_DIGEST_CHARACTERS: Final = 16
_COMMAND_SECONDS: Final = 1800.0
_LOOK_SECONDS: Final = 0.2
_KILLED: Final = "killed"
_ON_THEIR_WAY: Final = frozenset({"waiting", "starting", "running"})
_EVIDENCE_SUFFIX: Final = ".evidence.gz"


def tell_facts(base: str | None) -> Answer:
    """Return what a fleet asks of each host before it gives it anything."""
    del base
    return {"version": VERSION, "node": os.uname().nodename, "free_bytes": available_memory_bytes()}


def tell_missing(base: str | None, content: Answer) -> list[int]:
    """Return which chunks of a content the host has not received."""
    return _cache(base).missing(from_document(Content, content))


def store_chunk(base: str | None, chunk: Answer, data: bytes) -> int:
    """Keep a chunk; return its bytes. Raises TransferError where it is not the one that was announced."""
    _cache(base).store(from_document(Chunk, chunk), data)
    return len(data)


def finish_content(base: str | None, content: Answer, keep: Sequence[str]) -> None:
    """Check a content that has arrived, and keep it within the cache's bound. Raises TransferError."""
    _cache(base).finish(from_document(Content, content), keep)


def ensure_up(base: str | None, system: str, yaml: bytes, images: Sequence[str]) -> Answer:
    """Have a system run that this YAML describes: one that does is left alone, one of another YAML is replaced.

    Guests of one that does are started where something killed them, and waited for.
    """
    text = with_images(yaml, find_images(base, images))
    config = _directory(base) / f"{system}.{hashlib.sha256(text).hexdigest()[:_DIGEST_CHARACTERS]}.yaml"
    with _alone(base, system) as lock:
        # Each command takes a few tenths of a second: what has no directory needs neither question nor end.
        if (_runtime_directory(base) / system).exists():
            found = _look(base, system)
            if found is not None and found.get("config") == str(config):
                return _adopted(base, system, found, lock)
            _dcss(base, ["down", system], lock)
        write_durably(config, lambda descriptor: write_all(descriptor, text), mode=0o600)
        return {"adopted": False, **_dcss(base, ["up", str(config), "-d"], lock)}


def _adopted(base: str | None, system: str, found: Answer, lock: int) -> Answer:
    """Start the guests of a running system that were killed, wait for those that are not ready yet, and return all."""
    answer: Answer = {"exit_status": 0, "document": found, "error": None}
    killed = [guest["name"] for guest in found["guests"] if guest["state"] == _KILLED]
    for guest in killed:
        _dcss(base, ["guest", "start", guest, "--system", system], lock)
    if killed:
        answer = ask(base, system, "ps")
    until = time.monotonic() + _COMMAND_SECONDS
    while _comes_up(answer["document"]) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        answer = ask(base, system, "ps")
    return {"adopted": True, **answer}


def _comes_up(document: Answer | None) -> bool:
    """Return True while guests will be in another state by themselves; one that restarts may do so for ever."""
    guests = [] if document is None else document["guests"]
    return any(guest["state"] in _ON_THEIR_WAY for guest in guests)


def find_images(base: str | None, digests: Sequence[str]) -> Path:
    """Return the directory in which images are by their digests. Raises TransferError where one is not."""
    cache = _cache(base)
    for digest in digests:
        if cache.find(digest) is None:
            raise TransferError(f"segment {digest[:12]} is not in the cache any more; start the command again")
    return cache.directory


def ask(base: str | None, system: str, command: str) -> Answer:
    """Return what a command about a system that runs here says of it."""
    answer = _dcss(base, [command, system], None)
    if command == "ps" and answer["document"] is not None:
        (answer["document"],) = answer["document"]["systems"]
    return answer


def verify_with_evidence(base: str | None, system: str) -> Answer:
    """Return what `ask` returns of `verify`; `evidence` says which file of the host has what it was computed from."""
    _remove_evidence(base, system)
    path = _directory(base) / f"{system}.{uuid4().hex}{_EVIDENCE_SUFFIX}"
    answer = _dcss(base, ["verify", system, "--evidence", str(path)], None)
    if answer["document"] is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            answer["evidence"] = {"name": path.name, "digest": digest, "size_bytes": os.fstat(file.fileno()).st_size}
    return answer


def read_evidence(base: str | None, name: str, start: int, size_bytes: int) -> Answer:
    """Return a part of a file of evidence, and where it begins."""
    with open(open_regular(_directory(base) / name), "rb") as file:
        return {"start": start, "data": os.pread(file.fileno(), size_bytes, start)}


def forget_evidence(base: str | None, name: str) -> None:
    """Remove a file of evidence that was read."""
    (_directory(base) / name).unlink(missing_ok=True)


def take_down(base: str | None, system: str) -> Answer:
    """Take a system down, or what is left of it; that none runs is no error."""
    with _alone(base, system) as lock:
        answer = _dcss(base, ["down", system], lock)
        _remove_evidence(base, system)
        for path in _directory(base).glob(f"{system}.*.yaml"):
            path.unlink(missing_ok=True)
    return answer


def _remove_evidence(base: str | None, system: str) -> None:
    """Remove what commands that were killed did not read to its end."""
    for path in _directory(base).glob(f"{system}.*{_EVIDENCE_SUFFIX}"):
        path.unlink(missing_ok=True)


def _look(base: str | None, system: str) -> Answer | None:
    systems = (_dcss(base, ["ps", system], None)["document"] or {}).get("systems", [])
    found: Answer | None = systems[0] if systems and "guests" in systems[0] else None
    return found


def _dcss(base: str | None, arguments: Sequence[str], lock: int | None) -> Answer:
    """Run a command with --json. It keeps the lock should this process be killed meanwhile."""
    done = subprocess.run(
        [sys.executable, "-m", "dcss", *arguments, "--json"],
        env=environment_of(base),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_COMMAND_SECONDS,
        pass_fds=() if lock is None else (lock,),
        check=False,
    )
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = None
    error = None
    if document is None or "error" in document:
        error = " ".join(done.stderr.decode(errors="replace").split()) or f"ended with {done.returncode}"
        document = None
    return {"exit_status": done.returncode, "document": document, "error": error}


def environment_of(base: str | None) -> dict[str, str]:
    """Return the environment of a command: of this process, or with directories below a base."""
    if base is None:
        return dict(os.environ)
    directories = {"XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state", "XDG_CACHE_HOME": "cache"}
    for name in directories.values():
        (Path(base) / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    return {**os.environ, **{variable: str(Path(base) / name) for variable, name in directories.items()}}


def _runtime_directory(base: str | None) -> Path:
    """Return where each system that runs, or was killed, has a directory of its name."""
    return runtime_directory() if base is None else Path(base) / "run" / "dcss"


def _directory(base: str | None) -> Path:
    """Return the host's directory of the fleet: YAMLs, locks, and below it the segments."""
    above = cache_directory() if base is None else private_directory(Path(base))
    return private_directory(above / "fleet")


def _cache(base: str | None) -> SegmentCache:
    return SegmentCache(_directory(base) / "segments")


@contextmanager
def _alone(base: str | None, system: str) -> Iterator[int]:
    """Wait until nobody else starts or ends this system here; yield the lock."""
    lock = os.open(_directory(base) / f"{system}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)
