"""What tests of claims have in common: naming the claims, and checking that exactly some of them fail."""

from dcss.results import VerifyResult

ONE_FRAME, NO_COPIES, COUNTERS, PROTECTION, BASELINES = (
    "one-frame-per-page",
    "no-hidden-copies",
    "books-close",
    "protection-holds",
    "baselines-copy",
)


def detail(result: VerifyResult, claim: str) -> str:
    return next(found.detail for found in result.claims if found.claim == claim)


def assert_verified(result: VerifyResult) -> None:
    assert [(claim.claim, claim.detail) for claim in result.claims if claim.holds is not True] == []
    assert result.verdict == "verified"


def assert_only_false(result: VerifyResult, *claims: str) -> str:
    """Check that exactly `claims` are refuted and all others hold; return the first one's detail."""
    assert {claim.claim: claim.holds for claim in result.claims} == {
        claim.claim: claim.claim not in claims for claim in result.claims
    }, [f"{claim.claim}: {claim.detail}" for claim in result.claims]
    assert result.verdict == "refuted"
    return detail(result, claims[0])
