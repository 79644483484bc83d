"""How processes end, in words."""


def how_ended(status: int) -> str:
    """Return `ended by signal 9` or `ended with status 1`; `status` is as os.waitstatus_to_exitcode gives it."""
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
