"""Claim 4, protection-holds: guests cannot change a segment, and its content is what was published."""

import json
import os
import subprocess
import sys
from pathlib import Path
from signal import SIGSEGV
from typing import Final, NamedTuple

from dcss.errors import MeasurementDeniedError
from dcss.host.rlimits import explain_fork
from dcss.results import Claim
from dcss.verify.descriptors import FileDescriptor, duplicate
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import GuestView, Snapshot
from dcss.verify.wording import count, first_few
from dcss.verify.writable import opened_for_writing

NAME: Final = "protection-holds"
_PROBE = Path(__file__).with_name("probe.py")
_PROBE_SECONDS = 60


class _Tried(NamedTuple):
    """What the throw-away child found: its faults, whose descriptor it had, and why it found nothing, if so."""

    faults: list[str]
    how: str
    failure: str | None = None


def judge(snapshot: Snapshot) -> Claim:
    """Judge the claim for every segment that guests may not write."""
    protected = [segment for segment in snapshot.segments if not segment.target.type.shared_writable]
    if not protected:
        return Claim(NAME, None, "no segment is protected: all are of type SW or SN", applies=False)
    findings: list[str] = []
    hows: list[str] = []
    failures: list[str] = []
    for segment in protected:
        # Also descriptors that a guest got otherwise than from CP.
        held = [
            (guest, file)
            for guest, searched in snapshot.search.guests.items()
            for file in searched.descriptors
            if file.object == segment.object
        ]
        findings += _writable_descriptors(segment, held)
        for guest in snapshot.guests:
            findings += _writable_mappings(segment, guest)
        findings += _changed(segment)
        tried = _try(segment, [file for _, file in held])
        findings += [f"segment {segment.name}: {fault}" for fault in tried.faults]
        hows.append(tried.how)
        failures += [tried.failure] if tried.failure is not None else []
    if findings:
        return Claim(NAME, False, first_few(findings))
    denied = failures + snapshot.denied
    if denied:
        return Claim(NAME, None, first_few(denied))
    unsummed = [segment.name for segment in protected if segment.target.digest is None]
    digests = f"; {', '.join(unsummed)} has no digest to compare" if unsummed else ", and the digest is as published"
    tried_with = "; ".join(dict.fromkeys(hows))
    return Claim(
        NAME, True, f"{count(len(protected), 'segment')}: stores and writes are refused ({tried_with}){digests}"
    )


def _writable_descriptors(segment: SegmentView, held: list[tuple[str, FileDescriptor]]) -> list[str]:
    return [
        f"guest {guest}: descriptor {file.number} of {segment.name} is open for writing"
        for guest, file in held
        if opened_for_writing(file)
    ]


def _writable_mappings(segment: SegmentView, guest: GuestView) -> list[str]:
    """Find shared mappings that are writable, or that mprotect could make so: those of a file opened for writing."""
    name = guest.target.name
    return [
        f"guest {name}: {segment.name} is mapped writable at {mapping.address:#x}"
        if mapping.writable_now
        else f"guest {name}: {segment.name} at {mapping.address:#x} is mapped of a writable descriptor"
        for mapping in guest.writable_mappings
        if mapping.segment == segment.name
    ]


def _changed(segment: SegmentView) -> list[str]:
    if cut_short := segment.why_cut_short():
        return [cut_short]
    if segment.target.digest is None:
        return []
    digest = segment.content.digest()
    if digest == segment.target.digest:
        return []
    was = f"{segment.target.digest[:16]}… when it was published"
    return [f"segment {segment.name}: its content has changed: SHA-256 is {digest[:16]}…, was {was}"]


def _try(segment: SegmentView, held: list[FileDescriptor]) -> _Tried:
    refusal = ""
    # One is enough: they differ by how they were opened, and that is read for all of them.
    for file in held:
        try:
            return _probe(segment, duplicate(file), "with a guest's own descriptor")
        except OSError as error:
            refusal = f", as {error.strerror}"
    why = refusal or ", as no guest keeps one open"
    try:
        reopened = os.open(f"/proc/self/fd/{segment.target.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise MeasurementDeniedError(
            error.errno, f"segment {segment.name}: cannot be opened anew to probe it"
        ) from error
    return _probe(segment, reopened, f"with a descriptor opened read-only by CP{why}")


def _probe(segment: SegmentView, descriptor: int, how: str) -> _Tried:
    command = [sys.executable, "-I", "-S", str(_PROBE), str(descriptor), str(segment.target.size_bytes)]
    try:
        done = subprocess.run(
            command, pass_fds=[descriptor], capture_output=True, timeout=_PROBE_SECONDS, check=False, text=True
        )
    except OSError as error:
        return _Tried([], how, f"segment {segment.name}: the probe cannot be started: {explain_fork(error)}")
    except subprocess.TimeoutExpired:
        return _Tried([], how, f"segment {segment.name}: the probe {how} did not end within {_PROBE_SECONDS} s")
    finally:
        os.close(descriptor)
    if not done.stdout:
        return _Tried([], how, f"segment {segment.name}: the probe {how} failed: {done.stderr.strip()[-200:]}")
    outcomes = json.loads(done.stdout)
    outcomes["a store through the mapping"] = "refused" if done.returncode == -SIGSEGV else "was allowed"
    return _Tried([f"{way}: {end} {how}" for way, end in outcomes.items() if not end.startswith("refused")], how)
