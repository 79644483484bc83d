"""The JSON Schema of the YAML, for editors: without null for absent keys, with the rules of "exactly one"."""

from typing import Any

from dcss.config.check_guests import VERBS
from dcss.config.check_segments import SOURCES
from dcss.config.document import FREE_KEY_PREFIX
from dcss.config.models import FleetModel, SystemModel
from dcss.config.sweep_model import SweepModel


def json_schema() -> dict[str, Any]:
    """Return the schema of a system's YAML (draft 2020-12)."""
    return _system_schema(SystemModel)


def fleet_schema() -> dict[str, Any]:
    """Return the schema of FLEET.yaml: a system's, with `hosts:` and `placement:`."""
    schema = _system_schema(FleetModel)
    hosts = schema["properties"]["hosts"]
    listed = {key: hosts.pop(key) for key in ("type", "items")}
    hosts |= {"anyOf": [{"const": "all"}, listed], "default": "all"}
    return schema


def _system_schema(kind: type[SystemModel]) -> dict[str, Any]:
    schema: dict[str, Any] = _without_null(kind.model_json_schema())
    models = schema["$defs"]
    for model, keys in (("ImageModel", SOURCES), ("StepModel", VERBS), ("SegmentModel", ("define", "at"))):
        models[model]["oneOf"] = [{"required": [key]} for key in keys]
    saved = {"not": {"anyOf": [{"required": [key]} for key in ("define", "at", "image")]}}
    models["SegmentModel"]["oneOf"].append(saved)
    # What continues an image begins where the segment before it ends, unless it says where.
    placed = {"anyOf": [{"required": [key]} for key in ("define", "at")]}
    continuing = {"required": ["image"], "properties": {"image": {"required": ["continues"]}}, "not": placed}
    models["SegmentModel"]["oneOf"].append(continuing)
    # A tmpfs has no device, and everything else needs one.
    tmpfs = {"required": ["type"], "properties": {"type": {"const": "tmpfs"}}}
    without = {"not": {"anyOf": [{"required": [key]} for key in ("device", "mode")]}}
    models["MountModel"] |= {"if": tmpfs, "then": without, "else": {"required": ["device"]}}
    for model in (schema, *models.values()):
        model["patternProperties"] = {f"^{FREE_KEY_PREFIX}": {}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def sweep_schema() -> dict[str, Any]:
    """Return the schema of SWEEP.yaml."""
    schema: dict[str, Any] = _without_null(SweepModel.model_json_schema())
    schema["patternProperties"] = {f"^{FREE_KEY_PREFIX}": {}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _without_null(value: Any) -> Any:
    """Return a schema without the null that the models use for an absent key; it is no value in the YAML."""
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_null(item) for key, item in value.items() if not (key == "default" and item is None)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        choices.remove({"type": "null"})
        if len(choices) == 1:
            kept |= kept.pop("anyOf")[0]
    return kept
