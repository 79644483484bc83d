"""Limits of the machine, and how to raise them."""

import resource
from errno import EAGAIN, EIO, EMFILE, ENFILE, ENOMEM, ETOOMANYREFS

import pytest

from dcss.errors import LaunchError
from dcss.host.rlimits import explain, explain_fork, raise_descriptor_limit


def error(number: int) -> OSError:
    return OSError(number, "words")


def test_each_limit_is_named_with_what_raises_it() -> None:
    assert "RLIMIT_NOFILE" in explain(error(EMFILE))
    assert "fs.file-max" in explain(error(ENFILE))
    assert "RLIMIT_NOFILE" in explain(error(ETOOMANYREFS))
    assert explain(error(EIO)) == "words"
    assert "RLIMIT_NPROC" in explain_fork(error(EAGAIN))
    assert "pids.max" in explain_fork(error(EAGAIN))
    assert "vm.overcommit_memory" in explain_fork(error(ENOMEM))
    assert explain_fork(error(EMFILE)).startswith("fork: words: all")


def test_the_soft_limit_is_raised_and_a_hard_one_too_low_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 1000))
    monkeypatch.setattr(resource, "setrlimit", lambda which, values: calls.append((which, values)))
    raise_descriptor_limit(100, 2)
    assert calls == [(resource.RLIMIT_NOFILE, (1000, 1000))]
    with pytest.raises(LaunchError, match=r"1000 guests and 2 segments need 4268 descriptors, found a limit of 1000"):
        raise_descriptor_limit(1000, 2)


def test_no_limit_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    raise_descriptor_limit(1_000_000, 9)
