"""The JSON documents of all commands by name: the words of the command, or what else a document is called."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from dcss.errors import ConfigError
from dcss.schemas.generate import schema_of
from dcss.suggest import suggestion

_SEGMENT = "dcss.schemas.shapes:SegmentAnswer"
_GUEST = "dcss.results:GuestStatus"
# The class that each document is made of.
DOCUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "run": "dcss.results:RunResult",
        "up": "dcss.results:SystemStatus",
        "ps": "dcss.schemas.shapes:Systems",
        "top": "dcss.results:SystemActivity",
        "verify": "dcss.results:VerifyResult",
        "measure": "dcss.results:MeasureResult",
        "inspect": "dcss.results:InspectResult",
        "metrics": "dcss.schemas.shapes:Metrics",
        "report": "dcss.schemas.shapes:ReportWritten",
        "exec": "dcss.schemas.shapes:Executed",
        "logs": "dcss.schemas.shapes:Log",
        "logs --follow": "dcss.schemas.shapes:LogLine",
        "guest start": _GUEST,
        "guest stop": _GUEST,
        "guest restart": _GUEST,
        "down": "dcss.schemas.shapes:SystemsTakenDown",
        **{f"segment {each}": _SEGMENT for each in ("define", "save", "load", "query", "purge", "import", "export")},
        "segment spools": "dcss.schemas.shapes:Spools",
        "cp": "dcss.schemas.shapes:ConsoleAnswer",
        "image build": "dcss.schemas.shapes:BuiltImages",
        "image ls": "dcss.schemas.shapes:ImageListing",
        "image cat": "dcss.schemas.shapes:ImageContent",
        "image check": "dcss.schemas.shapes:ImageCheck",
        "image map": "dcss.schemas.shapes:ImageLayout",
        "kernel-test": "dcss.kernel_test.results:KernelTestResult",
        "config": "dcss.system.preview:SystemPreview",
        "advise": "dcss.plan.results:Advice",
        "compare": "dcss.results:ComparisonResult",
        "export": "dcss.plan.export.write:ExportResult",
        "fleet plan": "dcss.fleet.results:FleetPlanResult",
        **{f"fleet {each}": "dcss.fleet.results:FleetResult" for each in ("up", "ps", "verify", "measure", "down")},
        "fleet metrics": "dcss.schemas.shapes:Metrics",
        "fleet report": "dcss.schemas.shapes:ReportWritten",
        "fleet run": "dcss.fleet.results:FleetRunResult",
        "sweep": "dcss.fleet.sweep.results:SweepResult",
        "init": "dcss.schemas.shapes:Written",
        "doctor": "dcss.schemas.shapes:Findings",
        "docs": "dcss.schemas.shapes:Pages",
        "completion": "dcss.schemas.shapes:CompletionScript",
        "error": "dcss.schemas.shapes:Failure",
        "evidence": "dcss.schemas.evidence:EvidenceRecord",
    }
)
# What is no document of one class: the function that returns its schema.
OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "FLEET.yaml": "dcss.config.schema:fleet_schema",
        "SWEEP.yaml": "dcss.config.schema:sweep_schema",
        "sweep row": "dcss.schemas.sweep_rows:row_schema",
    }
)
# What these stand for, which no command is called by.
_TITLES = {"error": "an error of any command", "evidence": "a line of what --evidence writes"}


def document_schema(name: str) -> dict[str, Any]:
    """Return the schema of a document. Raises ConfigError where there is none of that name."""
    if name in OTHERS:
        module, attribute = OTHERS[name].split(":")
        schema: dict[str, Any] = getattr(import_module(module), attribute)()
        return schema
    if name not in DOCUMENTS:
        near = suggestion(name, [*DOCUMENTS, *OTHERS])
        raise ConfigError(f"dcss schema: found no document {name!r}, wanted one that dcss schema --list names{near}")
    module, attribute = DOCUMENTS[name].split(":")
    return schema_of(getattr(import_module(module), attribute), _TITLES.get(name, f"dcss {name} --json"))
