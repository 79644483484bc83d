"""The model of a SWEEP.yaml."""

from typing import Annotated, Any, Literal

from pydantic import Field

from dcss.config.models import Model
from dcss.config.values import GIVEN, Seconds, SystemName, Text

MAX_CONFIGURATIONS = 100_000


class SweepModel(Model):
    """A matrix of configurations, each of which is run by itself."""

    sweep: Annotated[SystemName | None, GIVEN] = Field(
        None, description="the sweep's name; without it, the file's name without its ending"
    )
    command: Literal["run", "kernel-test"] = Field(
        "run", description="what is done with each configuration: dcss run, or dcss kernel-test"
    )
    system: Annotated[Text | None, GIVEN] = Field(
        None, description="with command run: the YAML of the system whose keys the matrix varies"
    )
    matrix: dict[str, list[Any]] = Field(
        {},
        description="values by key: guests.LINUX.count, guests[0].mounts[0].mode, segments[*].type; null leaves the key"
        " out. With command kernel-test, the keys are kernel and check",
    )
    cases: dict[Text, dict[str, Any]] = Field(
        {},
        description="keys that are set together, by the name of the case; the matrix is run in each case",
    )
    repeat: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="how often each configuration is run")
    retries: Annotated[int, Field(ge=0, le=100)] = Field(0, description="how often one that failed is tried again")
    time_limit: Seconds = Field(None, description="seconds that one try may take")
    at_once: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="configurations that a worker runs at the same time; more than one disturb each other"
    )
