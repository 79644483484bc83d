"""The YAML of one host's system: the fleet's, with this host's guests, and segments that come from the host's cache."""

import re
from collections.abc import Mapping
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml

from dcss.config.fleet_plan import FleetPlan
from dcss.errors import ConfigError
from dcss.fleet.planning import Assignment

IMAGES: Final = "/dcss-images/"  # stands for the directory of the host's cache, which only the host knows
_DOLLAR: Final = re.compile(r"\$(?=[${])")  # what the YAML would take for a reference to a variable
_NAME_CHARACTERS: Final = 31  # of a system
_DIGEST_CHARACTERS: Final = 6


def system_on(fleet: str, host: str) -> str:
    """Return the name of the system that is a host's part of a fleet; two hosts never have the same."""
    plain = re.sub(r"[^a-z0-9-]+", "-", host.lower()).strip("-")
    name = f"{fleet}-{plain}"
    if plain == host and len(name) <= _NAME_CHARACTERS:
        return name
    mark = sha256(f"{fleet} {host}".encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: _NAME_CHARACTERS - _DIGEST_CHARACTERS - 1]}-{mark}"


def host_yaml(plan: FleetPlan, assigned: Assignment, images: Mapping[str, str]) -> bytes:
    """Return the YAML of a host's system; `images` has the digest of each segment's image, which is `${IMAGES}/DIGEST`.

    Raises ConfigError for what a guest of a fleet cannot have.
    """
    data = _data(plan)
    segments = []
    for entry in data["segments"]:
        if entry["name"] not in assigned.segments:
            continue
        image = {"image": {"ext2": IMAGES + images[entry["name"]]}} if entry["name"] in images else {}
        segments.append({**entry, **image})
    guests = []
    for part in assigned.guests:
        entry = dict(data["guests"][part.entry.number])
        if part.entry.count is not None:
            entry["numbers"] = [part.first, part.last]
        guests.append(entry)
    return dump_yaml({"system": system_on(plan.name, assigned.host), "segments": segments, "guests": guests})


def with_images(text: bytes, directory: Path) -> bytes:
    """Return a host's YAML with the paths of its images."""
    data = yaml.safe_load(text)
    for entry in data["segments"]:
        image = entry.get("image", {})
        if str(image.get("ext2", "")).startswith(IMAGES):
            image["ext2"] = _DOLLAR.sub("$$", str(directory / image["ext2"].removeprefix(IMAGES)))
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()


def check_portable(plan: FleetPlan) -> None:
    """Raise ConfigError for what names files of this machine, which other hosts do not have."""
    problems = []
    place = plan.document.place
    for number, guest in enumerate(_data(plan)["guests"]):
        if guest.get("disks"):
            problems.append(
                f"{place('guests', number).field('disks')}: found disks:, wanted none in a fleet: their files are this"
                " machine's"
            )
        kernel = guest.get("kernel")
        if isinstance(kernel, str) or (isinstance(kernel, dict) and "file" in kernel):
            problems.append(
                f"{place('guests', number).field('kernel')}: found a file of this machine, wanted debian: in a fleet"
            )
    if problems:
        raise ConfigError(*problems)


def _data(plan: FleetPlan) -> dict[str, Any]:
    assert isinstance(plan.document.data, dict)
    return plan.document.data


def portable_system(data: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a system's data whose paths begin at the root: relative ones begin at `directory`."""
    segments = [_absolute_segment(each, directory) if "image" in each else each for each in data["segments"]]
    guests = [_absolute_guest(each, directory) for each in data.get("guests", ())]
    return {**data, "segments": segments, "guests": guests}


def _absolute_guest(guest: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    found = dict(guest)
    if "disks" in found:
        found["disks"] = [{**disk, "file": str(directory / disk["file"])} for disk in found["disks"]]
    kernel = found.get("kernel")
    if isinstance(kernel, str):
        found["kernel"] = str(directory / kernel)
    elif isinstance(kernel, dict) and "file" in kernel:
        found["kernel"] = {**kernel, "file": str(directory / kernel["file"])}
    return found


def _absolute_segment(segment: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a segment whose image's paths begin at the root: the YAML with it lies in another directory."""
    image = dict(segment["image"])
    for key in ("directory", "tar", "ext2"):
        if key in image:
            image[key] = str(directory / image[key])
    for key in ("files", "exclude"):
        if key in image:
            image[key] = [each if each.startswith("/") else f"{escape(str(directory))}/{each}" for each in image[key]]
    if isinstance(image.get("debian"), dict) and "keyring" in image["debian"]:
        image["debian"] = {**image["debian"], "keyring": str(directory / image["debian"]["keyring"])}
    return {**segment, "image": image}


def dump_yaml(data: Mapping[str, Any]) -> bytes:
    """Return data as YAML that gives the same data, whatever variables are set."""
    return yaml.safe_dump(_escaped(data), sort_keys=False, allow_unicode=True).encode()


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return _DOLLAR.sub("$$", value)
        case dict():
            return {key: _escaped(each) for key, each in value.items()}
        case list():
            return [_escaped(each) for each in value]
        case _:
            return value
