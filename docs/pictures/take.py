"""Take the README's pictures of a report: `python take.py REPORT.html DIRECTORY`; `make pictures` calls it."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def main() -> None:
    """Write report-light.png, from the verdict on, and report-dark.png, of the pages of a segment."""
    report, directory = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        light = browser.new_page(viewport={"width": 1200, "height": 920}, color_scheme="light")
        light.goto(report.as_uri())
        light.screenshot(path=directory / "report-light.png")
        dark = browser.new_page(viewport={"width": 1200, "height": 760}, color_scheme="dark")
        dark.goto(report.as_uri())
        dark.get_by_label("Show").select_option("files")
        dark.get_by_role("button", name="libc.so.6").first.click()
        dark.wait_for_timeout(1000)  # until it has scrolled
        dark.screenshot(path=directory / "report-dark.png")
        browser.close()


if __name__ == "__main__":
    main()
