"""Debian's Chromium without a screen, driven by Playwright: what a page logs, throws and asks for is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from needs_support import tool
from playwright.sync_api import Browser, Page, sync_playwright
from wait_support import LIMIT_SECONDS

# Without these Chromium asks its maker's servers for updates, and finds no GPU.
_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

_LIMIT_MILLISECONDS = 1000 * LIMIT_SECONDS


@dataclass
class Visit:
    """A page in the browser, and what it did that a report must not do."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def evaluate(self, script: str) -> Any:
        """Return what a script returns in the page."""
        return self.page.evaluate(script)

    def wait_until(self, script: str) -> None:
        """Wait until a script returns true in the page."""
        self.page.wait_for_function(script)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=tool("chromium"), args=_ARGUMENTS, timeout=_LIMIT_MILLISECONDS
        )
        try:
            yield started
        finally:
            started.close()


@contextmanager
def visit(
    started: Browser, path: Path, *, width: int = 1280, height: int = 900, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Visit]:
    """Open a file in a window of its own."""
    context = started.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(_LIMIT_MILLISECONDS)
    try:
        seen = Visit(context.new_page())
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(path.as_uri())
        yield seen
    finally:
        context.close()
