"""Guests that are still in their `run:` list are named by an account that leaves them out."""

from dcss.account.targets import AddressRange, GuestTarget, SystemTarget
from dcss.results import GuestAccount, GuestCounters, HostCosts, MeasureResult, Totals
from dcss.system.proof import _with_unmeasured


def test_what_was_not_measured_is_said_beside_what_is_known_already() -> None:
    names = ("A", "B", "C")
    area = AddressRange(0, 1)
    targets = tuple(GuestTarget(name, "process", (1,), "shared", 0, area, area) for name in names)
    target = SystemTarget("S", 1, (), targets, ())
    none = GuestCounters(None, None, None, None)
    accounts = [GuestAccount(name, "process", (1,), 0, none, HostCosts(0, 0, 0, 0), None) for name in names]
    unknown = Totals(None, None, None)
    some = MeasureResult("S", (accounts[1],), (), unknown, None, ("known",))
    limits = [f"guest {name}: still in its `run:` list, and not measured" for name in ("A", "C")]
    assert _with_unmeasured(some, target, ["late"]).limits == ("known", "late", *limits)
    whole = MeasureResult("S", tuple(accounts), (), unknown, None, ("known",))
    assert _with_unmeasured(whole, target, []) is whole
    assert _with_unmeasured(whole, target, ["late"]).limits == ("known", "late")
