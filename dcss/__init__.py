"""z/VM's shared memory segments (DCSS) on any Linux machine, proved frame by frame: the Python API.

    import dcss

    with dcss.System("demo.yaml") as system:
        print(system.guests["LINUX01"].exec(["ls"]).stdout)
        system.verify().raise_unless_verified()
        for row in system.measure().rows():
            print(row["name"], row["uss_bytes"])

docs/api.md describes it. Each name is imported when it is used: guests and commands, which do not use it, pay nothing.
"""

TYPE_CHECKING = False  # typing's; importing that would be the only import here
if TYPE_CHECKING:
    from dcss import aio
    from dcss.api.evidence import Evidence
    from dcss.api.guest import ExecResult, Guest
    from dcss.api.system import System
    from dcss.errors import (
        ConfigError,
        DcssError,
        ExecError,
        GuestFailedError,
        ImageError,
        LaunchError,
        NotVerifiedError,
        PublishError,
        RefutedError,
        SpoolError,
        SystemBusyError,
        UnprovedError,
    )
    from dcss.results import (
        Claim,
        FileProof,
        GuestAccount,
        GuestStatus,
        MeasureResult,
        SegmentAccount,
        SegmentStatus,
        SystemStatus,
        Totals,
        VerifyResult,
    )
    from dcss.rpc.watch import NotAnsweringError
    from dcss.version import VERSION as __version__  # noqa: N811

# In the order of importance.
__all__ = [  # noqa: RUF022
    "System",
    "Evidence",
    "Guest",
    "VerifyResult",
    "MeasureResult",
    "ExecResult",
    "SystemStatus",
    "aio",
    "DcssError",
    "ConfigError",
    "NotVerifiedError",
    "RefutedError",
    "UnprovedError",
    "GuestFailedError",
    "ExecError",
    "LaunchError",
    "NotAnsweringError",
    "SystemBusyError",
    "ImageError",
    "PublishError",
    "SpoolError",
    "Claim",
    "FileProof",
    "GuestAccount",
    "SegmentAccount",
    "Totals",
    "GuestStatus",
    "SegmentStatus",
    "__version__",
]

# Where they are; the others are in dcss.errors.
_MODULES = {
    "dcss.api.system": {"System"},
    "dcss.api.evidence": {"Evidence"},
    "dcss.api.guest": {"Guest", "ExecResult"},
    "dcss.results": {"VerifyResult", "MeasureResult", "SystemStatus", "Claim", "FileProof", "GuestAccount", "Totals"}
    | {"SegmentAccount", "GuestStatus", "SegmentStatus"},
    "dcss.rpc.watch": {"NotAnsweringError"},
}


if not TYPE_CHECKING:  # type checkers would take any name for one that is there

    def __getattr__(name: str) -> object:
        """Import what a name stands for (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        if name == "aio":
            return import_module("dcss.aio")
        if name == "__version__":
            return import_module("dcss.version").VERSION
        home = next((module for module, names in _MODULES.items() if name in names), "dcss.errors")
        return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
