"""The JSON Schema and docs/configuration.md have exactly the keys of the models."""

import json
import re
from pathlib import Path

import pytest

from dcss.config.models import (
    AtLeastModel,
    DebianKernelModel,
    DebianModel,
    DiskModel,
    GuestModel,
    HostModel,
    ImageModel,
    KernelModel,
    LinuxGuestModel,
    Model,
    MountModel,
    S390xGuestModel,
    SegmentModel,
    StepModel,
    SystemModel,
)
from dcss.config.schema import json_schema
from dcss.config.sweep_model import SweepModel

PAGE = (Path(__file__).parents[4] / "docs/configuration.md").read_text()
SECTIONS: dict[str, type[Model]] = {
    "Top level": SystemModel,
    "`segments:`": SegmentModel,
    "`image:`": ImageModel,
    "`at_least:`": AtLeastModel,
    "`debian:`": DebianModel,
    "`guests:`": S390xGuestModel,
    "`kernel:`": KernelModel,
    "`debian:` of `kernel:`": DebianKernelModel,
    "`mounts:`": MountModel,
    "`disks:`": DiskModel,
    "`run:`": StepModel,
    "`hosts:`": HostModel,
}


def documented(section: str) -> list[tuple[str, str]]:
    """Return key and default of each row of a section's first table."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    table = text.split("| key | default | meaning |\n")[1].split("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_in_the_models_order_and_no_other(section: str) -> None:
    assert [key for key, _ in documented(section)] == list(SECTIONS[section].model_fields)


@pytest.mark.parametrize("section", SECTIONS)
def test_required_keys_are_called_required(section: str) -> None:
    required = {key for key, field in SECTIONS[section].model_fields.items() if field.is_required()} - {"engine"}
    assert {key for key, default in documented(section) if default == "required"} == required


def test_the_keys_of_engine_linux_are_documented() -> None:
    own = [key for key in LinuxGuestModel.model_fields if key not in S390xGuestModel.model_fields]
    assert [key for key, _ in documented("Engine `linux`")] == own


def test_the_keys_of_a_sweep_are_documented() -> None:
    page = (Path(__file__).parents[4] / "docs/sweep.md").read_text()
    table = page.split("| key | default | meaning |\n")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(SweepModel.model_fields)


def test_no_model_is_left_out() -> None:
    assert {*SECTIONS.values(), GuestModel, SweepModel} - {S390xGuestModel} == set(Model.__subclasses__())


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    from dcss.config.load import load_plan

    path = tmp_path / "demo.yaml"
    path.write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    assert len(load_plan(path).guests) == 4


def test_every_key_has_a_description() -> None:
    for model in SECTIONS.values():
        for key, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{key}"


def test_the_schema_names_every_key_and_no_null() -> None:
    schema = json_schema()
    assert "null" not in json.dumps(schema)
    assert list(schema["properties"]) == ["system", "segments", "guests"]
    assert schema["additionalProperties"] is False
    models = schema["properties"]["guests"]["items"]["oneOf"]
    guests = [schema["$defs"][model["$ref"].rpartition("/")[2]] for model in models]
    assert [guest["properties"]["engine"]["const"] for guest in guests] == ["process", "s390x", "linux"]
    assert ["engine" in guest["required"] for guest in guests] == [False, True, True]
    assert {guest["properties"]["count"]["minimum"] for guest in guests} == {1}
    assert {"required": ["tar"]} in schema["$defs"]["ImageModel"]["oneOf"]
    assert {"const": "auto"} in schema["$defs"]["SegmentModel"]["properties"]["size"]["anyOf"]
