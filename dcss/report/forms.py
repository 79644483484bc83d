"""JSON documents back to results: what a command gets from CP, it shows as `dcss run` shows its own."""

from dcss.report.jsonform import JsonForm
from dcss.results import (
    Claim,
    FileProof,
    GuestAccount,
    GuestCounters,
    HostCosts,
    MachineMemory,
    MeasureResult,
    SegmentAccount,
    Totals,
    VerifyResult,
)


def verify_result(form: JsonForm) -> VerifyResult:
    """Return the result that `verify_form` made the document of. Raises KeyError or TypeError for another document."""
    fields = dict(form)
    fields["claims"] = tuple(Claim(**claim) for claim in form["claims"])
    fields["files"] = tuple(FileProof(**file | {"guests": tuple(file["guests"])}) for file in form["files"])
    fields["limits"] = tuple(form["limits"])
    return VerifyResult(**fields)


def measure_result(form: JsonForm) -> MeasureResult:
    """Return the result that `measure_form` made the document of. Raises KeyError or TypeError for another document."""
    machine = form["machine"]
    return MeasureResult(
        form["system"],
        tuple(_guest(guest) for guest in form["guests"]),
        tuple(SegmentAccount(**segment) for segment in form["segments"]),
        Totals(**form["totals"]),
        None if machine is None else MachineMemory(**machine),
        tuple(form["limits"]),
    )


def _guest(form: JsonForm) -> GuestAccount:
    books = {"pids": tuple(form["pids"]), "guest": GuestCounters(**form["guest"]), "host": HostCosts(**form["host"])}
    return GuestAccount(**form | books)
