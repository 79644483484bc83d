"""Several kernels and parts of the checks at once: how the work is divided, and joined again."""

import pytest

from dcss.errors import LaunchError
from dcss.kernel_test.checks import chosen
from dcss.kernel_test.parallel import Part, joined, parts_of, run_parts
from dcss.kernel_test.results import CheckResult, KernelResult

CHECKS = chosen(("add", "busy", "save"))


@pytest.mark.parametrize(
    ("jobs", "parts"),
    [
        (2, [("a", "add busy save"), ("b", "add busy save")]),
        (5, [("a", "add save"), ("a", "busy"), ("b", "add save"), ("b", "busy")]),
        (100, [(kernel, check) for kernel in "ab" for check in ("add", "busy", "save")]),
    ],
)
def test_more_jobs_than_kernels_divide_the_checks(jobs: int, parts: list[tuple[str, str]]) -> None:
    found = parts_of(("a", "b"), CHECKS, jobs)
    assert [(part.kernel, " ".join(check.name for check in part.checks)) for part in found] == parts


def test_what_the_parts_of_a_kernel_found_is_one_column() -> None:
    add, busy, save = (CheckResult(check.name, check.title, "ok", 1.0) for check in CHECKS)
    found = [
        KernelResult("b", "", (), "no such package"),
        KernelResult("a", "6.1", (add, save)),
        KernelResult("a", "6.1", (busy,)),
    ]
    one, two = joined(found, ("a", "b"), CHECKS).kernels
    assert one == KernelResult("a", "6.1", (add, busy, save))
    assert two.untested == "no such package"


def test_parts_are_run_each_by_a_command_of_its_own() -> None:
    seen: list[str] = []
    parts = parts_of(("/bin/sh", "/bin/cat"), CHECKS[:1], 2)
    found = run_parts(parts, 2, lambda kernel, _: seen.append(kernel))
    assert [result.kernel for result in found] == ["/bin/sh", "/bin/cat"]
    assert all("wanted an image" in result.untested for result in found)
    assert seen == []


def test_a_part_that_tells_nothing_is_an_error() -> None:
    with pytest.raises(LaunchError, match="kernel-test /no/kernel, checks add: ended with status 2, wanted a result"):
        run_parts([Part("/no/kernel", tuple(CHECKS[:1]))], 2, lambda *_: None)
