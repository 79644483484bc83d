"""Made-up results of a run, in the shapes that pages must show well."""

from dcss.results import (
    Claim,
    FileProof,
    GuestAccount,
    GuestCounters,
    GuestOutcome,
    HostCosts,
    MachineMemory,
    MeasureResult,
    RunResult,
    SegmentAccount,
    Totals,
    VerifyResult,
)

PAGES = 24_000
LIBRARIES = ("libc.so.6", "libm.so.6", "libssl.so.3", "libcrypto.so.3", "libstdc++.so.6.0.30", "libz.so.1.2.13")
HIDDEN = "/proc/kpagecount: Permission denied; frames are shown to root (CAP_SYS_ADMIN) only"


def made_up_run(sharing: int = 8, baselines: int = 2, *, frames: bool = True) -> RunResult:
    """Return a verified run; without `frames` as a user without privileges gets it."""
    width = max(2, len(str(sharing)))
    names = tuple(f"LINUX{number:0{width}d}" for number in range(1, sharing + 1))
    bases = tuple(f"BASE{number:02d}" for number in range(1, baselines + 1))
    return RunResult(
        verify=_verify(names, bases, frames=frames),
        measure=_measure(names, bases, frames=frames),
        guests=tuple(GuestOutcome(name, 0, 0.4) for name in names + bases),
        publish_seconds=0.42,
        ready_seconds=1.18,
    )


def _verify(names: tuple[str, ...], bases: tuple[str, ...], *, frames: bool) -> VerifyResult:
    pages = PAGES // len(LIBRARIES)
    files = tuple(
        FileProof("LIB", f"/usr/lib/{name}", pages, pages, names, pages if frames else None, True) for name in LIBRARIES
    )
    claims = [
        Claim("one-frame-per-page", True, f"{PAGES:,} pages of {len(files)} files, checked in {len(names)} guests"),
        Claim("no-hidden-copies", True, "4,112 other pages searched at every byte offset: none holds segment content"),
        Claim(
            "books-close",
            True if frames else None,
            "216,000 page-table entries, as many as the kernel counts" if frames else HIDDEN,
        ),
        Claim(
            "protection-holds", True, "a store, mprotect and a writable mapping are refused; the digest is unchanged"
        ),
    ]
    if bases:
        claims.append(Claim("baselines-copy", True, f"{len(bases)} guests read {PAGES:,} pages, each in its own frame"))
    limits = () if frames else (HIDDEN,)
    return VerifyResult("demo", "verified", "frames" if frames else "mappings", tuple(claims), files, limits, 0.31)


def _measure(names: tuple[str, ...], bases: tuple[str, ...], *, frames: bool) -> MeasureResult:
    mapped_bytes = PAGES << 12
    guests = [
        GuestAccount(
            name,
            "process",
            (1000 + number,),
            64 << 20,
            GuestCounters(mapped_bytes, 0, 12288, 40960),
            HostCosts(
                118 << 20, 14 << 20, 1_900_000 // 4096 * 4096 + 4096 * (number % 7) if frames else None, 420 << 10
            ),
            mapped_segment_bytes=mapped_bytes,
        )
        for number, name in enumerate(names)
    ]
    guests += [
        GuestAccount(
            name,
            "process",
            (2000 + number,),
            256 << 20,
            GuestCounters(0, mapped_bytes, 1 << 20, 40960),
            HostCosts(118 << 20, 14 << 20, mapped_bytes + (3 << 20) if frames else None, 620 << 10),
            mapped_segment_bytes=0,
        )
        for number, name in enumerate(bases)
    ]
    count = len(names)
    return MeasureResult(
        "demo",
        tuple(guests),
        (SegmentAccount("LIB", "/dcss.demo.LIB.1", 104 << 20, mapped_bytes, 0, count + len(bases)),),
        Totals(mapped_bytes, count * mapped_bytes, (count - 1) * mapped_bytes),
        MachineMemory(20_000 << 20, 19_700 << 20),
        () if frames else (HIDDEN,),
    )
