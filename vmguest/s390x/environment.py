"""The environment that programs are started with."""

from collections.abc import Sequence

from vmguest.s390x.programs import DEFAULT_ENVIRONMENT


def with_defaults(entries: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return entries such as ``LANG=C`` behind those that every program gets; of one name, the last one counts."""
    named = {entry.partition(b"=")[0]: entry for entry in (*DEFAULT_ENVIRONMENT, *entries)}
    return tuple(named.values())
