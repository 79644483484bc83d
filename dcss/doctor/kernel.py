"""Check the kernel's settings. Source: Documentation/admin-guide of Linux (mm, sysctl/vm, LSM/Yama)."""

from dcss.abi.page import PAGE_SIZE
from dcss.doctor.host import Diagnosis, DoctorHost

_DEFAULT_MAP_COUNT = 65530  # DEFAULT_MAX_MAP_COUNT of include/linux/mm.h


def page_size(host: DoctorHost) -> Diagnosis:
    """Check the size of a page, which must be that of s390x."""
    if host.page_size_bytes == PAGE_SIZE:
        return Diagnosis("page size", "ok", f"{PAGE_SIZE} bytes")
    return Diagnosis(
        "page size",
        "missing",
        f"{host.page_size_bytes} bytes",
        f"everything: a segment's pages are {PAGE_SIZE} bytes, as s390x's are",
        f"boot a kernel with pages of {PAGE_SIZE} bytes",
    )


def frames(host: DoctorHost) -> Diagnosis:
    """Check whether page frame numbers and their map counts can be read."""
    reason = host.hidden_because()
    if reason is None:
        return Diagnosis("page frames", "ok", "visible")
    return Diagnosis(
        "page frames",
        "limit",
        f"hidden: {reason}",
        "the proof: verdicts rest on mappings instead of frames, and what cannot be seen is null",
        "sudo dcss …; in a container: docker run --privileged (or --cap-add SYS_ADMIN, with /proc/kpagecount readable)",
    )


def map_count(host: DoctorHost) -> Diagnosis:
    """Check how many mappings a process may have: a guest needs one for each run of contiguous blocks that it maps."""
    text = host.setting("proc/sys/vm/max_map_count")
    if text is None:
        return Diagnosis("mappings", "ok", "vm.max_map_count is not shown here")
    found = f"vm.max_map_count is {text}"
    if int(text) >= _DEFAULT_MAP_COUNT:
        return Diagnosis("mappings", "ok", found)
    return Diagnosis(
        "mappings",
        "limit",
        found,
        "how many files, and runs of fragmented ones, a guest can map",
        f"sudo sysctl -w vm.max_map_count={_DEFAULT_MAP_COUNT}",
    )


def yama(host: DoctorHost) -> Diagnosis:
    """Check whether CP, the guests' ancestor, may read their memory."""
    text = host.setting("proc/sys/kernel/yama/ptrace_scope")
    if text is None:
        return Diagnosis("Yama", "ok", "not in this kernel")
    found = f"ptrace_scope is {text}"
    if int(text) <= 1 or (int(text) == 2 and host.root):
        return Diagnosis("Yama", "ok", found)
    mend = "sudo sysctl -w kernel.yama.ptrace_scope=1" if int(text) == 2 else "reboot: 3 cannot be taken back"
    return Diagnosis("Yama", "limit", found, "verify and measure: CP may not read its own guests' memory", mend)


def overcommit(host: DoctorHost) -> Diagnosis:
    """Check whether the kernel counts memory as used before it is touched, and refuses what exceeds its limit."""
    text = host.setting("proc/sys/vm/overcommit_memory")
    if text != "2":
        return Diagnosis("overcommit", "ok", f"vm.overcommit_memory is {text or 'not shown here'}")
    return Diagnosis(
        "overcommit",
        "limit",
        "vm.overcommit_memory is 2",
        "the number of guests: each one's whole storage counts as used from its start",
        "sudo sysctl -w vm.overcommit_memory=0",
    )


def ksm(host: DoctorHost) -> Diagnosis:
    """Check whether KSM merges equal pages, which changes what counts as private."""
    text = host.setting("sys/kernel/mm/ksm/run")
    if text is None or text != "1":
        return Diagnosis("KSM", "ok", "not in this kernel" if text is None else "off")
    merged = host.setting("sys/kernel/mm/ksm/pages_sharing") or "some"
    return Diagnosis(
        "KSM",
        "limit",
        f"on, {merged} pages merged",
        "figures: private pages that KSM merged no longer count as private (QEMU guests offer theirs)",
        "echo 2 | sudo tee /sys/kernel/mm/ksm/run",
    )
