"""The shapes of documents that no data class stands for: those of commands that print what they have at hand."""

from typing import Literal, NotRequired, TypedDict

from dcss.results import SegmentStatus


class GuestLook(TypedDict):
    """One guest of `dcss ps`."""

    name: str
    engine: str
    state: str
    since: str
    pid: int | None
    segments: list[str]
    restarts: int
    exit_status: int | None
    reason: str | None
    log: str
    private_bytes: int | None


class SystemLook(TypedDict):
    """One system of `dcss ps`; one that cannot be asked has only its name, state and process."""

    system: str
    state: str
    pid: int | None
    reason: NotRequired[str]
    since: NotRequired[str]
    config: NotRequired[str]
    log: NotRequired[str]
    guests: NotRequired[list[GuestLook]]
    segments: NotRequired[list[SegmentStatus]]


class Systems(TypedDict):
    """The systems of this user."""

    systems: list[SystemLook]


class TakenDown(TypedDict):
    """One system of `dcss down`."""

    system: str
    was: Literal["up", "dead"]
    guests: int
    removed: list[str]
    seconds: float
    error: str | None


class SystemsTakenDown(TypedDict):
    """The systems that were taken down."""

    systems: list[TakenDown]


class Executed(TypedDict):
    """What a command in a guest wrote, and how it ended."""

    guest: str
    exit_status: int
    stdout: str
    stderr: str


class Log(TypedDict):
    """The log of a guest, or of CP."""

    system: str
    guest: str | None
    path: str
    log: str


class LogLine(TypedDict):
    """One line of the log of a guest, or of CP, as it was written."""

    system: str
    guest: str | None
    line: str


class ReportWritten(TypedDict):
    """The report that was written."""

    file: str
    system: str
    verdict: Literal["verified", "refuted", "unproved"] | None
    bytes: int


class Sample(TypedDict):
    """One sample of a metric."""

    name: str
    labels: dict[str, str]
    value: float


class Metric(TypedDict):
    """A metric with its samples; `unit` is empty where it has none."""

    name: str
    type: str
    help: str
    unit: str
    samples: list[Sample]


class Metrics(TypedDict):
    """The metrics of a system or a fleet; with --textfile or --listen, where they are."""

    system: str
    metrics: NotRequired[list[Metric]]
    file: NotRequired[str]
    url: NotRequired[str]


class PageRange(TypedDict):
    """A range of a segment: its first and last page frame, and its type."""

    first_page: int
    last_page: int
    type: str


class _FileName(TypedDict):
    file: int
    name: str
    filetype: str


_FileClass = TypedDict("_FileClass", {"class": str})


class SegmentFile(_FileName, _FileClass):
    """One system data file of a saved segment; `sha256` and `shm` as in docs/cp.md."""

    ranges: list[PageRange]
    attributes: list[str]
    users: list[str]
    originid: str
    created: str
    saved: bool
    sha256: str | None
    shm: str | None
    content: NotRequired[Literal["as-saved", "as-published", "written-by-cp", "written-by-guests"]]


class SegmentAnswer(TypedDict):
    """CP's answer to a request about segments."""

    system: str
    return_code: int
    lines: list[str]
    segments: list[SegmentFile]
    file: NotRequired[str]


class Spool(TypedDict):
    """The spool of one system."""

    system: str
    directory: str
    files: int
    bytes: int


class Spools(TypedDict):
    """The systems that have a spool."""

    spools: list[Spool]


class ConsoleAnswer(TypedDict):
    """CP's answer to a console command."""

    system: str
    command: str
    return_code: int
    lines: list[str]
    files: list[SegmentFile] | None


class BuiltImage(TypedDict):
    """An image that was built; `segment` is A:B where it lies over several, `files` null for a ready image."""

    path: str
    segment: str | None
    address: int
    size_bytes: int
    content_bytes: int
    files: int | None
    left_out: int
    notes: list[str]
    seconds: float


class BuiltImages(TypedDict):
    """The images that were built."""

    images: list[BuiltImage]


class ImageEntry(TypedDict):
    """One entry of a directory in an image."""

    name: str
    inode: int
    type: str
    mode: str
    uid: int
    gid: int
    links: int
    size_bytes: int
    mtime: int
    device: list[int] | None
    target: str | None


class ImageListing(TypedDict):
    """A directory in an image."""

    image: str
    path: str
    entries: list[ImageEntry]


class ImageContent(TypedDict):
    """A file of an image."""

    image: str
    path: str
    size_bytes: int
    content_base64: str


class ImageFinding(TypedDict):
    """One inconsistency of an image."""

    kind: str
    where: str
    detail: str


class ImageCheck(TypedDict):
    """What a check of an image found."""

    image: str
    clean: bool
    findings: list[ImageFinding]
    suppressed: int


class MappedFile(TypedDict):
    """Where a file of an image lies; `runs` are three numbers each: page of the file, page of the image, pages."""

    path: str
    inode: int
    size_bytes: int
    data_bytes: int
    slack_bytes: int
    runs: list[list[int]]
    mappings: int
    huge_bytes: int
    aligned: bool | None


class ImageLayout(TypedDict):
    """Where the files of an image lie."""

    image: str
    address: int
    size_bytes: int
    metadata_bytes: int
    free_bytes: int
    huge_share: float | None
    borders: list[int]
    files: list[MappedFile]


class Finding(TypedDict):
    """One thing that `dcss doctor` looked at."""

    name: str
    state: Literal["ok", "limit", "missing"]
    found: str
    limits: str | None
    mend: str | None


class Findings(TypedDict):
    """What this machine lacks or limits."""

    findings: list[Finding]


class PageTitle(TypedDict):
    """A page of the documentation."""

    name: str
    title: str


class Pages(TypedDict):
    """The pages of the documentation or, of one that is named, its name and text."""

    pages: NotRequired[list[PageTitle]]
    name: NotRequired[str]
    text: NotRequired[str]


class Example(TypedDict):
    """An example system."""

    name: str
    description: str


class Written(TypedDict):
    """The example that was written or, with --list, all there are."""

    name: NotRequired[str]
    path: NotRequired[str]
    systems: NotRequired[list[Example]]


class CompletionScript(TypedDict):
    """The script for a shell."""

    shell: str
    script: str


class DocumentNames(TypedDict):
    """The documents that have a schema."""

    documents: list[str]


class ErrorLines(TypedDict):
    """What is wrong, a line for each thing."""

    kind: str
    lines: list[str]
    exit_status: int


class Failure(TypedDict):
    """What any command prints where it cannot do what was asked."""

    error: ErrorLines
