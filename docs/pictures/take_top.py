"""Take the README's picture of top: `python take_top.py SYSTEM DIRECTORY`; `make pictures` calls it. It needs tmux."""

import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

CHROMIUM = "/usr/bin/chromium"
COLUMNS, ROWS = 100, 24
LIMIT_SECONDS = 30.0
PAGE = """<body style="margin:0; background:{background}">
<pre id="screen" style="display:inline-block; margin:0; padding:14px; color:{foreground};
font:14px/1.3 'DejaVu Sans Mono', monospace">{code}</pre></body>"""


def screen_of(system: str) -> str:
    """Return the second look of top on a terminal, with the terminal's colours."""
    tmux = ["tmux", "-L", f"dcss-picture-{system}"]
    size = ["-x", str(COLUMNS), "-y", str(ROWS)]
    top = [sys.executable, "-m", "dcss", "top", system, "--interval", "1"]
    subprocess.run([*tmux, "new-session", "-d", *size, *top], check=True)
    try:
        ends = time.monotonic() + LIMIT_SECONDS
        seen: set[str] = set()
        while len(seen) < 3:  # the empty screen, the first look, and one with rates
            if time.monotonic() > ends:
                raise SystemExit(f"dcss top {system}: found {len(seen)} looks, wanted 3")
            time.sleep(0.5)
            shown = subprocess.run([*tmux, "capture-pane", "-e", "-p"], check=True, capture_output=True, text=True)
            seen.add(shown.stdout)
        return shown.stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def main() -> None:
    """Write top.png."""
    system, directory = sys.argv[1], Path(sys.argv[2])
    with open("/dev/null", "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="standard")
        console.print(Text.from_ansi(screen_of(system)), soft_wrap=True)
    page = console.export_html(inline_styles=True, code_format=PAGE, theme=MONOKAI)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=("--no-sandbox", "--disable-gpu"))
        tab = browser.new_page(viewport={"width": 1200, "height": 800})
        tab.set_content(page)
        tab.locator("#screen").screenshot(path=directory / "top.png")
        browser.close()


if __name__ == "__main__":
    main()
