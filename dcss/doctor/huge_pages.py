"""Check whether segments get huge pages, by making one.

Source: Documentation/admin-guide/mm/transhuge.rst of Linux. /dev/shm goes by its mount option `huge=`; the file
shmem_enabled is about other shared memory, except for deny and force, which are about all.
"""

from dcss.doctor.host import Diagnosis, DoctorHost

_DIRECTORY = "sys/kernel/mm/transparent_hugepage"
_LIMITS = "speed: each guest has a page-table entry for each 4 KiB that it maps"


def huge_pages(host: DoctorHost) -> Diagnosis:
    """Check whether segments get huge pages."""
    if host.setting(f"{_DIRECTORY}/enabled") is None:
        found = "none for memory like that of segments in this kernel"
        return Diagnosis("huge pages", "limit", found, _LIMITS, "boot a kernel with CONFIG_TRANSPARENT_HUGEPAGE")
    chosen = _chosen(host.setting(f"{_DIRECTORY}/shmem_enabled"))
    settings = f"/dev/shm has huge={_mount_option(host)}, shmem_enabled is {chosen}"
    reason = host.no_huge_pages_because()
    if reason is None:
        return Diagnosis("huge pages", "ok", f"segments get them ({settings})")
    if "THP_enabled:\t0" in (host.setting("proc/self/status") or ""):
        mend = "start dcss from a process that has not turned them off for its children (PR_SET_THP_DISABLE)"
    elif chosen == "deny":
        mend = f"echo never | sudo tee /{_DIRECTORY}/shmem_enabled"
    elif _mount_option(host) in {"always", "within_size"}:
        mend = "echo 1 | sudo tee /proc/sys/vm/compact_memory"  # there is no free memory in one piece
    else:
        mend = "sudo mount -o remount,huge=within_size /dev/shm"  # for a kernel without MADV_COLLAPSE (6.1)
    return Diagnosis("huge pages", "limit", f"none for segments: {reason} ({settings})", _LIMITS, mend)


def _chosen(text: str | None) -> str:
    return (text or "").partition("[")[2].partition("]")[0] or "not in this kernel"


def _mount_option(host: DoctorHost) -> str:
    """Return the option `huge=` of /dev/shm, which is never where the mount table does not show it."""
    mounts = [line.split() for line in (host.setting("proc/self/mounts") or "").splitlines()]
    options = [fields[3].split(",") for fields in mounts if len(fields) > 3 and fields[1] == "/dev/shm"]
    found = [option.removeprefix("huge=") for option in (options[-1] if options else []) if option.startswith("huge=")]
    return found[0] if found else "never"
