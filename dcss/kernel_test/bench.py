"""Run checks in a kernel: a virtual machine with segments of its own, started again after a check that harmed it."""

import hashlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dcss.api.guest import Guest
from dcss.api.system import System
from dcss.config.sources import DebianKernel, KernelFile, KernelSource
from dcss.errors import ConfigError, DcssError, ImageError, LaunchError
from dcss.kernel_test.checks import Check, prelude
from dcss.kernel_test.kernel_log import excerpt, reports
from dcss.kernel_test.results import BAD, CheckResult, KernelResult, Outcome
from dcss.kernel_test.sysrq import ask_for_stacks
from dcss.kernels.find import find_kernel
from dcss.kernels.kernel import Kernel

ARCH: Final = "s390x"
_SKIPPED: Final = 77
_HUNG: Final = 124
_SPARE_SECONDS: Final = 30.0  # of the host, beside a check's own limit
_BOOT_SECONDS: Final = 180
_DEBIAN: Final = "debian:"
# Segments without a file system: what CP is told of each. P1 to P8 adjoin; so do those that one line names.
_EMPTY: Final = {
    "INSIDE": "02000-020FF SR",
    "NEXTEW": "13000-130FF EW",  # behind HIGH
    "NEWSW": "17000-170FF SN",
    "CPWRITES": "17100-171FF SC",
    "NEXTER": "18000-180FF ER",
    "ONEEW": "18100-181FF EW",
    "NEWEW": "18800-188FF EN",
    "MIXED": "18900-1897F EW 18980-189FF EN",
    "TWOSR": "19000-1907F SR 19080-190FF SR",
    "GAPEW": "19100-1917F EW 19190-191FF EW",
    "SIXEW": " ".join(f"{page:X}-{page + 15:X} EW" for page in range(0x19200, 0x19260, 16)),
    "SEVENEW": " ".join(f"{page:X}-{page + 15:X} EW" for page in range(0x19300, 0x19370, 16)),
    "HALF": "1A000-1A07F SR",
    "OTHER": "1A080-1A0FF SR",
    "OVERLAP": "1A040-1A1FF SR",
    "GONE": "1F000-1F0FF SR",
    "CLOSED": "1B000-1B0FF SR RSTD",
    "SAVEDA": "1C000-1C0FF SR",
    "SAVEDB": "1C100-1C1FF SR",
    **{f"P{number + 1}": f"{page:X}-{page + 0xFF:X} SR" for number, page in enumerate(range(0x1D000, 0x1D800, 0x100))},
}
# Runs the check beside itself: a script in the kernel's hands cannot be killed, and is left behind.
_WRAPPER: Final = """
rm -f /tmp/late
cat >/tmp/check <<'END-OF-CHECK'
{script}
END-OF-CHECK
setsid sh /tmp/check >/tmp/output 2>&1 </dev/null &
check=$!
(sleep {limit}; : >/tmp/late) >/dev/null 2>&1 &
timer=$!
while [ -d /proc/$check ] && ! grep -q '^State:.Z' /proc/$check/status 2>/dev/null; do
	if [ -e /tmp/late ]; then
		cat /tmp/output
		echo "--- stacks of what did not end"
		for task in $(pidof sh sleep dd mount umount); do
			[ $task = $$ ] && continue
			echo "process $task: $(tr '\\0\\n' '  ' </proc/$task/cmdline | cut -c 1-100)"; cat /proc/$task/stack
		done 2>/dev/null
		echo w >/proc/sysrq-trigger
		dmesg | tail -n 60
		exit 124
	fi
	sleep 0.1
done
kill $timer 2>/dev/null
wait $check
status=$?
kill -KILL -$check 2>/dev/null && sleep 0.2  # what a failed check has left running, and may have a device open
cat /tmp/output
umount /mnt 2>/dev/null
for name in /sys/devices/dcssblk/*/shared; do
	name=${{name%/shared}}; [ -d "$name" ] && echo ${{name##*/}} >/sys/devices/dcssblk/remove
done 2>/dev/null
exit $status
"""


def kernel_source(text: str) -> KernelSource:
    """Read KERNEL of the command line: a path, debian:SUITE, or debian:SUITE:PACKAGE. Raises ConfigError."""
    if not text.startswith(_DEBIAN):
        path = Path(text).resolve()
        if not path.exists():
            raise ConfigError(f"KERNEL: found no {text}, wanted a file, a directory of a build, or debian:SUITE")
        return KernelFile(path)
    suite, _, package = text.removeprefix(_DEBIAN).partition(":")
    if not suite:
        raise ConfigError("KERNEL: found 'debian:', wanted debian:SUITE, such as debian:trixie")
    return DebianKernel(suite, package or None)


def test_kernel(
    text: str, checks: Sequence[Check], on_check: Callable[[CheckResult], None] = lambda _: None
) -> KernelResult:
    """Run checks in a kernel and return what they found. Raises ConfigError; what else fails is in the result."""
    source = kernel_source(text)
    release, untested = "", ""
    results: list[CheckResult] = []
    try:
        kernel = find_kernel(source, ARCH)
        release = kernel.label
        with _segments(kernel) as directory:
            # What checks save is theirs alone.
            environment = {"XDG_STATE_HOME": str(directory / "state")}
            with System(
                _config(source, directory),
                directory=directory,
                environment=environment,
                allow_failed_guests=True,
            ) as system:
                _check_up(system.guests["TEST"])
                for name, ranges in _EMPTY.items():
                    system.cp(f"DEFSEG {name} {ranges}")
                    system.cp(f"SAVESEG {name}")
                release = _release(system.guests["TEST"], kernel)
                for result in _results(system.guests["TEST"], checks):
                    results.append(result)
                    on_check(result)
    except (ImageError, LaunchError) as error:
        untested = str(error)
    return KernelResult(text, release, tuple(results), untested)


def _results(guest: Guest, checks: Sequence[Check]) -> Iterator[CheckResult]:
    """Run checks, one after the other, none in a kernel that an earlier one has tainted, by an oops for one.

    Raises LaunchError where the machine does not come up again.
    """
    taint = _taint(guest) if guest.status().state == "ready" else None
    for check in checks:
        if guest.status().state != "ready":
            logged = len(guest.log())
            if guest.restart().state != "ready":
                log = excerpt(guest.log()[logged:])
                raise LaunchError(f"before {check.name}, the machine did not come up again:\n{log}")
            taint = _taint(guest)
        result = _result(guest, check)
        yield result
        if result.outcome in {"hung", "lost"} or _taint(guest) != taint:
            guest.stop()


def _check_up(guest: Guest) -> None:
    """Raise LaunchError, with what its console shows, where a machine did not come up."""
    status = guest.status()
    if status.state != "ready":
        raise LaunchError(f"{status.state}: {status.reason}\n{excerpt(guest.log())}".rstrip())


def _release(guest: Guest, kernel: Kernel) -> str:
    """Return the kernel's version, which a file or directory does not tell in its name."""
    try:
        return f"Linux {guest.exec(['uname', '-r'], timeout_seconds=_SPARE_SECONDS).stdout.strip()}"
    except DcssError:
        return kernel.label


def _taint(guest: Guest) -> str | None:
    """Return what the kernel says of how it was tainted; None where it does not answer."""
    try:
        return guest.exec(["cat", "/proc/sys/kernel/tainted"], timeout_seconds=_SPARE_SECONDS).stdout
    except DcssError:
        return None


def _result(guest: Guest, check: Check) -> CheckResult:
    began, logged = time.monotonic(), len(guest.log())
    script = _WRAPPER.format(script=f"{prelude()}\n{check.script}", limit=check.limit_seconds)

    def made(outcome: Outcome, message: str = "", output: str = "") -> CheckResult:
        seconds = time.monotonic() - began
        log = guest.log()[logged:]
        details = f"{output}\n{excerpt(log)}".lstrip() if outcome in BAD else ""
        return CheckResult(check.name, check.title, outcome, seconds, message, details, reports(log))

    try:
        done = guest.exec(["sh", "-c", script], timeout_seconds=check.limit_seconds + _SPARE_SECONDS)
    except DcssError as error:
        status = guest.status()
        if status.state == "ready" and status.pid is not None:
            ask_for_stacks(status.pid)
            limit = check.limit_seconds + _SPARE_SECONDS
            return made("hung", f"the machine did not answer within {limit:g} s")
        return made("lost", str(error))
    output = (done.stdout + done.stderr).strip()
    message = output.partition("\n")[0]
    if guest.status().state != "ready":
        return made("lost", message or "the machine ended", output)
    if done.exit_status in {0, _SKIPPED}:
        return made("ok") if done.exit_status == 0 else made("skipped", message)
    if done.exit_status == _HUNG:
        return made("hung", f"it did not end within {check.limit_seconds} s", output)
    return made("failed", output.rpartition("\n")[2] or f"status {done.exit_status}", output)


def _config(source: KernelSource, directory: Path) -> dict[str, Any]:
    """Return the system: one machine, and segments at the addresses that the checks know."""
    image = {"directory": str(directory / "tree")}
    kernel: object = (
        str(source.path)
        if isinstance(source, KernelFile)
        else {"debian": {key: value for key, value in source._asdict().items() if value is not None}}
    )

    def segment(name: str, pages: str, kind: str = "SR") -> dict[str, Any]:
        return {"name": name, "define": [f"{pages} {kind}"], "image": image}

    return {
        "segments": [
            segment("LIB", "10000-10FFF"),
            segment("LOW", "12000-127FF"),
            segment("HIGH", "12800-12FFF"),
            segment("ONLYER", "14000-147FF", "ER"),
            segment("BOTHSW", "15000-157FF", "SW"),
            segment("SCRATCH", "16000-167FF"),
        ],
        "guests": [
            {
                "name": "TEST",
                "engine": "linux",
                "kernel": kernel,
                "privilege": "EG",
                "dcssblk": [],
                "expect": "nothing",
                "time_limit": _BOOT_SECONDS,
                "append": "sysrq_always_enabled",
            }
        ],
    }


@contextmanager
def _segments(kernel: Kernel) -> Iterator[Path]:
    """Make a directory with what segments hold: a program, a file, and the file's digest."""
    with tempfile.TemporaryDirectory(prefix="dcss-kernel-") as name:
        directory = Path(name)
        tree = directory / "tree"
        tree.mkdir()
        (directory / "state").mkdir()
        content = random.Random(1).randbytes(300_000)
        (tree / "file").write_bytes(content)
        (tree / "digest").write_text(hashlib.md5(content, usedforsecurity=False).hexdigest(), "ascii")
        shutil.copy(kernel.busybox, tree / "busybox")
        (tree / "busybox").chmod(0o755)
        yield directory
