"""Results as the JSON documents of DESIGN.md section 7. Field names are fixed; null means: could not be seen."""

import json
from dataclasses import asdict
from typing import Any

from dcss.results import MeasureResult, RunResult, VerifyResult

JsonForm = dict[str, Any]


def verify_form(result: VerifyResult) -> JsonForm:
    """Return the document of ``dcss verify``."""
    return asdict(result)


def measure_form(result: MeasureResult) -> JsonForm:
    """Return the document of ``dcss measure``."""
    return asdict(result)


def run_form(result: RunResult) -> JsonForm:
    """Return the document of ``dcss run``."""
    return asdict(result)


def to_json(form: JsonForm) -> str:
    """Return a document as text, ASCII only: a file name that is no UTF-8 keeps its bytes as \\\\udcXX."""
    return json.dumps(form, indent=2, allow_nan=False)
