"""What the site has beside docs/: README as its first page, and a reference of the Python API from its docstrings."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = """# Python API reference

What `import dcss` gives; [From Python](api.md) explains it with examples.

::: dcss.api.system.System

::: dcss.api.guest.Guest

::: dcss.api.guest.ExecResult

::: dcss.api.evidence.Evidence

::: dcss.aio

::: dcss.results

::: dcss.errors
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    readme = (ROOT / "README.md").read_text("utf-8")
    readme = re.sub(r"(\]\(|src=\"|srcset=\")docs/", r"\1", readme)
    readme = re.sub(r"\[([^]]+)\]\((?!https?:|#)(?![a-z0-9-]+\.md)(?!p)[^)]*\)", r"\1", readme)  # to what no page shows
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "reference.md", content=REFERENCE))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to README lead to the first page, and links to other files of the source be plain words."""
    del page, config, files
    markdown = markdown.replace("](../README.md", "](index.md")
    return re.sub(r"\[([^]]+)\]\(\.\./[^)]*\)", r"\1", markdown)
