"""`dcss up` with a made-up system: what an interrupt leaves the user knowing."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from dcss.cli import up
from dcss.cli.main import main

CONFIG = "system: late\nsegments: [{name: LIB, at: 1G, image: {files: [/x]}}]\nguests: [{name: A}]\n"


@pytest.mark.parametrize("running", [["late"], ["another"], []])
def test_an_interrupt_that_comes_too_late_says_what_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], running: list[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    module = ModuleType("dcss.system.up")
    module.up_in_background = interrupted  # type: ignore[attr-defined]
    module.up_here = interrupted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dcss.system.up", module)
    monkeypatch.setattr(up, "running_systems", lambda: running)
    path = tmp_path / "late.yaml"
    path.write_text(CONFIG)
    with pytest.raises(SystemExit) as ended:
        main(["up", str(path), "-d"])
    assert ended.value.code == 130
    told = "dcss: interrupted, but late is up: dcss down late takes it down\n"
    assert capfd.readouterr().err == (told if running == ["late"] else "")
