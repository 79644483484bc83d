"""What `dcss advise` finds, as plain data; dcss.documents turns it into JSON.

Names are those of the JSON document. None means that a value is not known.
"""

from dataclasses import dataclass
from typing import Literal

from dcss.results import Result

Method = Literal["everything", "dynamic programming", "dynamic programming in units"]


@dataclass(frozen=True, slots=True)
class AdviceInput:
    """A process, run, directory, archive, ext2 image or guest: its files, and what of these was touched.

    `referenced_bytes` is what the processor used since smaps' mark was last cleared. `guests` says for how many guests
    it stands.
    """

    name: str
    kind: str
    source: str
    guests: int
    files: int
    bytes: int
    touched_bytes: int | None
    referenced_bytes: int | None


@dataclass(frozen=True, slots=True)
class AdvisedFile:
    """One content that may go into the segment, under its first path and all `paths`.

    `bytes` is what it takes there, without metadata; `guests` would use it, of as many as the first forecast has, and
    `saved_bytes` is what sharing it saves these. `touched_bytes` and `untouched_bytes` are means of the inputs that
    use it.
    """

    path: str
    paths: tuple[str, ...]
    bytes: int
    inputs: tuple[str, ...]
    guests: int
    touched_bytes: int | None
    untouched_bytes: int | None
    saved_bytes: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class AdvisedSegment:
    """The segment: where it lies, what it takes, and the line that defines it; of several, one line each."""

    names: tuple[str, ...]
    address: int
    bytes: int
    files: int
    file_bytes: int
    defseg: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """How the files were chosen: within `budget_bytes`, exactly or not; no choice saves more than `bound_bytes`."""

    budget_bytes: int | None
    method: Method
    exact: bool
    saved_bytes: int
    bound_bytes: int


@dataclass(frozen=True, slots=True)
class ForecastKind:
    """Guests that use the same files: how many there are, and what they map of the segment and have for themselves."""

    name: str
    inputs: tuple[str, ...]
    guests: int
    files: int
    private_bytes: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What so many guests would cost that map their files whole, as those of the YAML that is written.

    `with_sharing_bytes`, `without_sharing_bytes` and `saved_bytes` are as `dcss measure` has them. `private_bytes` is
    what all guests have for themselves on this machine, emulator included, to about a tenth; the first guest of each
    kind has more, since the others are cloned from it. `touched_saved_bytes` is what is saved where guests touch what
    the inputs touched.
    """

    guests: int
    kinds: tuple[ForecastKind, ...]
    private_bytes: int
    shared_bytes: int
    without_sharing_bytes: int
    with_sharing_bytes: int
    saved_bytes: int
    touched_saved_bytes: int | None


@dataclass(frozen=True, slots=True)
class Advice(Result):
    """What belongs into a segment, and what it saves. `output` is the YAML that was written."""

    inputs: tuple[AdviceInput, ...]
    files: tuple[AdvisedFile, ...]
    segment: AdvisedSegment
    choice: Choice
    forecasts: tuple[Forecast, ...]
    notes: tuple[str, ...] = ()
    output: str | None = None

    _TABLES = ("files", "inputs", "forecasts")
