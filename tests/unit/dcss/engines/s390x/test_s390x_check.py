"""What engine `s390x` refuses before anything is started, with what mends it."""

from dataclasses import replace

import pytest
from system_support import guest

from dcss.config.plan import S390xSettings
from dcss.engines.s390x import unicorn
from dcss.engines.s390x.engine import S390xEngine


@pytest.mark.parametrize(("version", "found"), [(None, "none"), ("2.1.3", "2.1.3"), ("2.0", "2.0")])
def test_without_a_sound_unicorn_each_entry_is_refused_once(
    monkeypatch: pytest.MonkeyPatch, version: str | None, found: str
) -> None:
    monkeypatch.setattr(unicorn, "installed_version", lambda: version)
    first = guest("Z01", settings=S390xSettings())
    problems = S390xEngine().check([first, replace(first, name="Z02"), replace(first, name="Y", where="x.yaml:9")])
    assert [str(problem) for problem in problems] == [
        f"{where}: engine: found s390x, which needs Unicorn, and {found} installed, wanted Unicorn 2.1.4 or newer"
        " (pip install 'dcss-emulator[s390x]')"
        for where in (first.where, "x.yaml:9")
    ]


@pytest.mark.parametrize("version", ["2.1.4", "2.1.10", "2.2.0rc1", "3"])
def test_with_one_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(unicorn, "installed_version", lambda: version)
    assert S390xEngine().check([guest("Z", settings=S390xSettings())]) == ()


def test_the_version_that_is_installed_is_found_without_importing_it() -> None:
    assert unicorn.is_recent(unicorn.installed_version() or "0")
