"""What CP answers to commands, in z/VM's form: HCPmmmNNNNs text, the message number being the command's return code.

The module mmm only locates the sender. Messages of module DCS, numbered from 9001, are ours: the texts and numbers
that z/VM has in their place are not in public sources. So is the DCSS wording of 440I; its number is public.
"""

from typing import NamedTuple

from dcss.errors import DcssError


class Message(NamedTuple):
    """One message; `severity` is E for an error, I for information."""

    module: str
    number: int
    severity: str
    text: str

    def line(self, **fields: object) -> str:
        """Return the line that CP prints."""
        return f"HCP{self.module}{self.number:03d}{self.severity} {self.text.format(**fields)}"


UNKNOWN_COMMAND = Message("CMD", 1, "E", "Unknown CP command: {command}")
INVALID_OPERAND = Message("CMD", 2, "E", "Invalid operand - {operand}")
INVALID_OPTION = Message("CMD", 3, "E", "Invalid option - {option}")
EXTRA_OPTIONS = INVALID_OPTION._replace(text="Invalid option - command contains extra option(s) starting with {option}")
INVALID_QUERY = INVALID_OPTION._replace(module="CQU")
INVALID_HEXDATA = Message("CMD", 5, "E", "Invalid hexdata - {hexdata}")
CONFLICTING_OPTION = Message("CMD", 13, "E", "Conflicting option - {option}")
MISSING_OPERAND = Message("CMD", 26, "E", "Operand missing or invalid")
DEFINED = Message("NSD", 440, "I", "Saved segment {name} was successfully defined in fileid {spid:04d}.")
SAVED = Message("NSS", 440, "I", "Saved segment {name} was successfully saved in fileid {spid:04d}.")
# Inferred: SMAPI answers 600/299, "class S file exists", where DEFSEG meets a skeleton. The text is ours.
SKELETON_EXISTS = Message(
    "NSD",
    299,
    "E",
    "Saved segment {name} is defined already, in fileid {spid:04d}; SAVESEG {name}, or PURGE NSS {spid:04d} first",
)
BAD_DEFINITION = Message("DCS", 9001, "E", "{reason}")
NO_SKELETON = Message("DCS", 9002, "E", "Saved segment {name} is not defined, or is saved already; DEFSEG it first")
NO_SUCH_FILE = Message("DCS", 9003, "E", "System data file {file} does not exist")
SPOOL_FAILED = Message("DCS", 9004, "E", "{reason}")
NO_STORAGE = Message("DCS", 9005, "E", "The storage of {userid} cannot be read, nothing was saved")
NOTHING_TO_SAVE = Message(
    "DCS",
    9007,
    "E",
    "Saved segment {name} has content (file {spid:04d}) and {userid} no storage to put in its place; save it from an"
    " image (dcss segment save {name} --image SRC) or from a guest, or PURGE NSS {spid:04d} first",
)
NOT_CP_WRITTEN = Message(
    "DCS", 9008, "E", "Storage {start:X}-{end:X} is not in pages of type SC of saved segment {name}; CP writes no other"
)
NOT_ADDRESSABLE = Message(
    "DCS",
    9009,
    "E",
    "Pages {pages} of saved segment {name} are not in the storage of {userid}, nothing was saved; load it first",
)
PURGED_MEANWHILE = Message(
    "DCS", 9010, "E", "Saved segment {name} was purged while it was being saved; nothing was saved, DEFSEG it again"
)
NOT_SAVED = Message("DCS", 9006, "E", "Saved segment {name} is defined and not saved yet; SAVESEG it first")


class CommandError(DcssError):
    """CP refuses a command; `return_code` is the number of its message, `line` what CP prints."""

    def __init__(self, message: Message, **fields: object) -> None:
        self.return_code = message.number
        self.line = message.line(**fields)
        super().__init__(self.return_code, self.line)

    def __str__(self) -> str:
        return self.line

    def __reduce__(self) -> tuple[object, tuple[int, str]]:
        return _restore, (self.return_code, self.line)


def _restore(return_code: int, line: str) -> CommandError:
    error = CommandError.__new__(CommandError, return_code, line)
    error.return_code, error.line = return_code, line
    error.args = (return_code, line)
    return error
