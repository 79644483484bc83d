"""The verdict over all claims."""

from collections.abc import Sequence

from dcss.results import Claim, Verdict


def verdict_of(claims: Sequence[Claim], *, guests: int) -> Verdict:
    """Return the verdict over the claims that apply; a system without guests proves nothing."""
    judged = [claim.holds for claim in claims if claim.applies]
    if False in judged:
        return "refuted"
    return "verified" if guests and judged and all(judged) else "unproved"
