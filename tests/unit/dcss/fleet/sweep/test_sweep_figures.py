"""What a sweep keeps of a command's document."""

import json

from dcss.fleet.sweep.task import _figures
from dcss.kernel_test.results import KernelResult, KernelTestResult


def test_why_a_kernel_was_not_tested_is_one_line() -> None:
    kernel = KernelResult("k0", "", (), "failed: its kernel panicked: no init\n[    1.0] Run /init\n[    1.1] panic")
    document = json.dumps(KernelTestResult((kernel,)).to_document()).encode()
    assert _figures("kernel-test", document)[1] == "failed: its kernel panicked: no init"


def test_of_a_kernel_that_was_tested_there_is_no_reason() -> None:
    document = json.dumps(KernelTestResult((KernelResult("k0", "6.1", ()),)).to_document()).encode()
    assert _figures("kernel-test", document)[1] is None
