"""Userids that CP itself knows."""

OPERATOR = "OPERATOR"  # who issues commands that no guest issues
