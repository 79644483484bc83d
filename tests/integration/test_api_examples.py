"""Every example of docs/api.md, and those of README.md in Python, run as they stand, beside a demo.yaml."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from cli_support import Dcss

ROOT = Path(__file__).parents[2]
PAGES = "## First\n" + (ROOT / "docs/api.md").read_text() + "\n## README.md\n" + (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"^## (.+?)$|^```python\n(.*?)^```$", PAGES, re.MULTILINE | re.DOTALL)
DEMO = """
system: {system}
segments:
  - {{name: LIB, at: 0x20000000, image: {{directory: tree}}}}
guests:
  - {{name: LINUX, count: 2, mounts: [{{device: dcssblk0, at: /, options: [ro, xip]}}], run: [{{map: /usr/lib/*}}]}}
  - {{name: BASE, expect: copies, mounts: [{{device: dcssblk0, at: /, options: [ro]}}], run: [{{read: /usr/lib/*}}]}}
"""


def examples() -> list[ParameterSet]:
    title, found = "", []
    for heading, example in EXAMPLES:
        title = heading or title
        if example:
            found.append(pytest.param(example, id=title))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("example", examples())
def test_example(home: Dcss, example: str) -> None:
    if "pandas" in example and importlib.util.find_spec("pandas") is None:
        pytest.skip("needs pandas, which is no dependency")
    demo = DEMO.format(system=home.system)
    Path("demo.yaml").write_text(demo)
    Path("shared.yaml").write_text(demo.partition("  - {name: BASE")[0])  # none that copies
    Path("example.py").write_text(example)
    module = ["pytest", "-q"] if "import pytest" in example else []
    command = [sys.executable, "-W", "error", *(["-m", *module] if module else []), "example.py"]
    done = subprocess.run(command, check=False, env=home.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "Evidence" in example
    home.assert_nothing_left(seconds=0)
