"""One HTML file from results: template, style, script and data in one, and no request to anywhere."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from importlib.util import find_spec
from typing import Any

from dcss.errors import ConfigError
from dcss.report.html import facts
from dcss.report.html.claims import PROGRAM
from dcss.report.html.pages import EvidencePages
from dcss.report.html.payload import payload
from dcss.report.html.source import ReportSource
from dcss.report.quoting import escaped

_TEMPLATES = "dcss.report.html"
_SCRIPTS = ("codec.js", "format.js", "table.js", "guests.js", "segment.js", "files.js", "theme.js", "main.js")
INSTALL = "pip install 'dcss-emulator[report]'"


def check_renderer() -> None:
    """Raise ConfigError where the library that fills templates is not installed."""
    if find_spec("jinja2") is None:
        raise ConfigError(f"dcss report: found no jinja2, wanted the extra `report`; install it: {INSTALL}")


def render_report(source: ReportSource, evidence: EvidencePages | None = None) -> str:
    """Return the report as a document of HTML. Raises ConfigError where the evidence is another system's."""
    check_renderer()
    _check_same_system(source, evidence)
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    script = "\n".join(_template(name) for name in _SCRIPTS)
    return template.from_string(_template("report.html")).render(
        system=escaped(source.system),
        style=_template("report.css"),
        script=script,
        script_digest=_digest(script),
        data=_embedded(payload(source, evidence)),
        **_facts(source, evidence),
    )


def _facts(source: ReportSource, evidence: EvidencePages | None) -> dict[str, Any]:
    return {
        "verdict": facts.verdict(source),
        "about_processes": source.about_processes,
        "hosts": facts.host_rows(source),
        "figures": list(facts.figures(source)),
        "bars": facts.saving_bars(source.measure),
        "claims": facts.claims(source.verify, evidence),
        "segments": facts.segment_rows(source.measure, evidence),
        "others": facts.other_rows(source.measure),
        "provenance": facts.provenance_rows(source, evidence),
        "warnings": facts.warnings(source),
        "limits": [escaped(limit) for limit in source.limits],
        "missing": facts.missing(source, evidence),
        "has_verify": source.verify is not None,
        "has_measure": source.measure is not None,
        "has_evidence": evidence is not None,
        "program": None if evidence is None else _program(evidence.files[0].name),
    }


def _program(evidence: str) -> str:
    """Return the program that reads a file of evidence, by its name."""
    return PROGRAM.replace("EVIDENCE", escaped(evidence).replace('"', "_"))


def _check_same_system(source: ReportSource, evidence: EvidencePages | None) -> None:
    if evidence is not None and evidence.system != source.system:
        found, wanted = escaped(evidence.system), escaped(source.system)
        names = ", ".join(file.name for file in evidence.files)
        raise ConfigError(f"--evidence: found evidence of system {found} in {names}, wanted {wanted}'s")


def _embedded(data: Mapping[str, Any]) -> str:
    """Return data as JSON that ends no script element, whatever is in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _template(name: str) -> str:
    return (resources.files(_TEMPLATES) / "templates" / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Return the digest by which the page's policy admits its own script and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
