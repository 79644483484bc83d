"""Variables that are set for a while, for a library and for no program."""

import os

import pytest

from dcss.host.environment import variables_set


def test_variables_are_set_in_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DCSS_TEST_ONE", raising=False)
    monkeypatch.setenv("DCSS_TEST_TWO", "the user's")
    with pytest.raises(KeyError), variables_set(DCSS_TEST_ONE="1", DCSS_TEST_TWO="ours"):
        assert (os.environ["DCSS_TEST_ONE"], os.environ["DCSS_TEST_TWO"]) == ("1", "the user's")
        raise KeyError
    assert "DCSS_TEST_ONE" not in os.environ
    assert os.environ["DCSS_TEST_TWO"] == "the user's"
