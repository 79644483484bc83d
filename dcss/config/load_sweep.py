"""Load a SWEEP.yaml: the configurations of its matrix, each checked as `dcss run` would check it."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from json import dumps
from math import prod
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import ValidationError

from dcss.config.document import Document, read_document
from dcss.config.draft import problem_of
from dcss.config.load import findings, plan_of
from dcss.config.problems import FieldProblem, Location, WrongValueError, printable
from dcss.config.sweep_keys import locations, parse_key, put
from dcss.config.sweep_model import MAX_CONFIGURATIONS, SweepModel
from dcss.config.values import SYSTEM_NAME
from dcss.errors import ConfigError
from dcss.suggest import did_you_mean

SweepCommand = Literal["run", "kernel-test"]
Keys = Mapping[str, Any]
_KERNEL_KEYS: Final = ("kernel", "check")
CASE: Final = "case"
_CHECKED_NAME: Final = "sweep"  # of the system while it is checked: each run has a name of its own


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the matrix, in one of its repeats: what is set, and the system's YAML that this gives as data.

    `digest` stands for what is run: the same in a later run of the sweep, and after its file was moved or reordered.
    """

    number: int
    repeat: int
    keys: Keys
    digest: str
    data: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What is set, in one line."""
        values = [f"{key}={printable(text_of(value))}" for key, value in self.keys.items()]
        return " ".join([*values, *([f"repeat={self.repeat}"] if self.repeat > 1 else [])])


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A sweep. Paths in the configurations' data begin at `directory`."""

    name: str
    command: SweepCommand
    directory: Path
    keys: tuple[str, ...]
    configurations: tuple[Configuration, ...]
    retries: int
    time_limit_seconds: float | None
    at_once: int


def load_sweep(path: Path) -> SweepPlan:
    """Return the sweep of a YAML file. Raises ConfigError with a line for each problem of it or of a configuration."""
    document = read_document(path)
    directory = Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow links
    model = _model(document)
    problems = list(_problems(model, path))
    if problems:
        raise ConfigError(*findings(document, problems))
    if model.command == "run":
        directory, configurations = _systems(model, document, directory)
    else:
        configurations = _kernel_tests(model, directory)
    return SweepPlan(
        name=model.sweep or path.stem,
        command=model.command,
        directory=directory,
        keys=tuple(_axes(model)),
        configurations=configurations,
        retries=model.retries,
        time_limit_seconds=model.time_limit,
        at_once=model.at_once,
    )


def text_of(value: object) -> str:
    """Return how a line names a value of the matrix."""
    return value if isinstance(value, str) else dumps(value)


def _model(document: Document) -> SweepModel:
    problems = list(document.problems)
    if document.data is None or document.data == {}:
        problems.append(FieldProblem((), "an empty file", "a mapping with system: and matrix:"))
    else:
        try:
            model = SweepModel.model_validate(document.data)
        except ValidationError as error:
            problems += [_problem(document, each) for each in error.errors(include_url=False)]
        else:
            if not problems:
                return model
    raise ConfigError(*findings(document, problems))


def _problem(document: Document, error: Any) -> FieldProblem:
    if error["type"] != "extra_forbidden":
        return problem_of(document, error)
    known = list(SweepModel.model_fields)
    return FieldProblem(
        error["loc"], "an unknown key", "one of " + ", ".join(known), did_you_mean(str(error["loc"][-1]), known)
    )


def _problems(model: SweepModel, path: Path) -> Iterator[FieldProblem]:
    if model.sweep is None and re.fullmatch(SYSTEM_NAME, path.stem) is None:
        yield FieldProblem(("sweep",), "nothing", "a name, since the file's own cannot serve as one", "sweep: counts")
    if model.command == "run" and model.system is None:
        yield FieldProblem(("system",), "nothing", "the YAML of a system", "system: demo.yaml")
    if model.command == "kernel-test" and model.system is not None:
        yield FieldProblem(("system",), "system:", "none with command: kernel-test, which has systems of its own")
    if model.command == "kernel-test" and model.cases:
        yield FieldProblem(("cases",), "cases:", "none with command: kernel-test, which has no keys to set together")
    if not model.matrix and not model.cases:
        yield FieldProblem(("matrix",), "no key", "at least one, with a list of its values")
    for key, values in model.matrix.items():
        at = ("matrix", key)
        if not values:
            yield FieldProblem(at, "an empty list", "at least one value")
        texts = [dumps(value, sort_keys=True) for value in values]
        for index, text in enumerate(texts):
            if text in texts[:index]:
                yield FieldProblem((*at, index), f"{printable(text)} again", "each value once", "repeat: runs it again")
        if model.command == "kernel-test":
            yield from _kernel_problems(key, values)
    if model.command == "kernel-test" and "kernel" not in model.matrix:
        yield FieldProblem(("matrix",), "no kernel", "kernel: with a list of them", "kernel: [debian:trixie]")
    total = prod(map(len, _axes(model).values())) * model.repeat
    if total > MAX_CONFIGURATIONS:
        yield FieldProblem(("matrix",), f"{total} configurations", f"at most {MAX_CONFIGURATIONS}")


def _kernel_problems(key: str, values: Sequence[Any]) -> Iterator[FieldProblem]:
    if key not in _KERNEL_KEYS:
        wanted = f"one of {', '.join(_KERNEL_KEYS)} with command: kernel-test"
        yield FieldProblem(("matrix", key), "an unknown key", wanted, did_you_mean(key, _KERNEL_KEYS))
    for index, value in enumerate(values):
        if not isinstance(value, str) or not value:
            yield FieldProblem(("matrix", key, index), repr(value), "text")


def _axes(model: SweepModel) -> dict[str, list[Any]]:
    """Return the values by key, with the cases as a key of their own."""
    return {**({CASE: list(model.cases)} if model.cases else {}), **model.matrix}


def _points(model: SweepModel) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield number, repeat and keys; all points come once before the first comes again."""
    axes = _axes(model)
    points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    for repeat in range(1, model.repeat + 1):
        for number, keys in enumerate(points, 1):
            yield number, repeat, keys


def _kernel_tests(model: SweepModel, directory: Path) -> tuple[Configuration, ...]:
    configurations = []
    for number, repeat, keys in _points(model):
        kernel = keys["kernel"]
        data = {**keys, "kernel": kernel if kernel.startswith("debian:") else str(directory / kernel)}
        configurations.append(Configuration(number, repeat, keys, _digest("kernel-test", keys, repeat), data))
    return tuple(configurations)


def _systems(model: SweepModel, document: Document, directory: Path) -> tuple[Path, tuple[Configuration, ...]]:
    path = directory / cast(str, model.system)
    try:
        system = read_document(path)
    except ConfigError as error:
        place = document.place("system").field()
        raise ConfigError(*(f"{place}: {line}" for line in error.findings)) from error
    places = _places(model, document, system)
    configurations = []
    problems: dict[str, None] = {}
    for number, repeat, keys in _points(model):
        settings = {**model.cases.get(keys.get(CASE, ""), {}), **keys}
        settings.pop(CASE, None)
        data = _with(system, places, settings)
        configuration = Configuration(number, repeat, keys, _digest("run", data, repeat), data)
        if repeat == 1:
            problems |= dict.fromkeys(
                _findings(system, path, [each for key in settings for each in places[key]], configuration)
            )
        configurations.append(configuration)
    if problems:
        raise ConfigError(*problems)
    return path.parent, tuple(configurations)


def _places(model: SweepModel, document: Document, system: Document) -> dict[str, list[Location]]:
    places: dict[str, list[Location]] = {}
    problems = []
    keys: list[Location] = [("matrix", key) for key in model.matrix]
    keys += [("cases", case, key) for case, settings in model.cases.items() for key in settings]
    for location in keys:
        key = str(location[-1])
        try:
            places[key] = locations(system.data, parse_key(key))
        except WrongValueError as error:
            problems.append(FieldProblem(location, f"'{printable(key)}'", error.wanted, error.mends))
    if problems:
        raise ConfigError(*findings(document, problems))
    return places


def _with(system: Document, places: Mapping[str, Sequence[Location]], settings: Keys) -> dict[str, Any]:
    """Return the system's data with what a configuration sets, and without a name: each run gives it one."""
    data = deepcopy(system.data)
    assert isinstance(data, dict) or not places
    for key, value in settings.items():
        for location in places[key]:
            put(data, location, deepcopy(value))
    result = cast(dict[str, Any], data)
    result.pop("system", None)
    return result


def _findings(system: Document, path: Path, changed: Sequence[Location], configuration: Configuration) -> Sequence[str]:
    """Return what is wrong with a configuration, as `dcss run` would say it."""
    sources = {
        location: text
        for location, text in system.sources.items()
        if not any(location[: len(each)] == each for each in changed)
    }
    document = replace(system, data=configuration.data, sources=sources)
    try:
        plan = plan_of(document, path, _CHECKED_NAME)
    except ConfigError as error:
        return [f"{line} (with {configuration.label})" for line in error.findings]
    return [
        f"{segment.where}: found segment {segment.name} without image:, wanted one: segments that are saved belong"
        " to the system of their name, and each configuration is a system of its own"
        for segment, entry in zip(plan.segments, configuration.data["segments"], strict=True)
        if "image" not in entry
    ]


def _digest(command: str, data: Mapping[str, Any], repeat: int) -> str:
    return sha256(dumps([command, data, repeat], sort_keys=True).encode()).hexdigest()
