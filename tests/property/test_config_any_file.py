"""Any file gives a plan, or problems in the documented form; never another error, never a hang."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wrong_config_support import WRONG_CONFIGS

from dcss.config.load import load_plan
from dcss.config.models import AtLeastModel, GuestModel, ImageModel, MountModel, SegmentModel, StepModel, SystemModel
from dcss.config.plan import SystemPlan
from dcss.errors import ConfigError

KEYS = sorted(
    {
        key
        for model in (SystemModel, SegmentModel, ImageModel, AtLeastModel, GuestModel, MountModel, StepModel)
        for key in model.model_fields
    }
)
WORDS = [
    "LIB",
    "A",
    "auto",
    "SR",
    "EW",
    "64M",
    "0x20000000",
    "20000-200FF SR",
    "dcssblk0",
    "/",
    "ro",
    "process",
    "",
    "é\0",
]
SCALARS = st.one_of(
    st.sampled_from(WORDS), st.integers(-1, 1 << 40), st.booleans(), st.none(), st.floats(), st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)
FINDING = re.compile(r"[^\n]+:[0-9]+: [^\n]+: found [^\n]+, wanted [^\n]+")


def load(path: Path, content: bytes) -> SystemPlan | ConfigError:
    path.write_bytes(content)
    try:
        return load_plan(path)
    except ConfigError as error:
        for finding in error.findings:
            assert FINDING.fullmatch(finding), finding
        return error


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "any.yaml"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "system": SCALARS,
            "segments": st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), max_size=3) | VALUES,
            "guests": st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), max_size=3) | VALUES,
        },
    )
)
def test_any_mapping_of_known_keys(path: Path, data: dict[str, Any]) -> None:
    load(path, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_any_bytes(path: Path, content: bytes) -> None:
    load(path, content)


@given(st.data())
def test_any_damage_to_a_wrong_file(path: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([wrong.text for wrong in WRONG_CONFIGS if isinstance(wrong.text, str)]))
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 10))
    put = data.draw(st.text(alphabet="{}[]:-,&*! \n\"'#a1", max_size=5))
    load(path, (text[:at] + put + text[at + cut :]).encode())


@given(
    st.integers(0, 1 << 34).map(lambda page: page << 12),
    st.integers(1, 64).map(lambda megabytes: megabytes << 20),
    st.integers(1, 300),
    st.text(alphabet="ABCXYZ019@#$", min_size=1, max_size=8),
)
def test_correct_files_are_loaded_and_others_refused(
    path: Path, address: int, storage_bytes: int, count: int, name: str
) -> None:
    """The oracle is the rules of docs/configuration.md, in plain arithmetic."""
    content = yaml.safe_dump(
        {
            "segments": [{"name": "LIB", "at": hex(address), "image": {"files": ["/x"]}}],
            "guests": [{"name": name, "count": count, "storage": f"{storage_bytes >> 20}M"}],
        }
    )
    sound = 0 < address < 512 << 30
    fits = storage_bytes <= address and len(name) + max(2, len(str(count))) <= 8
    found = load(path, content.encode())
    assert isinstance(found, SystemPlan) == (sound and fits)
    if isinstance(found, SystemPlan):
        assert found.segments[0].start_address == address
        assert len({guest.name for guest in found.guests}) == count
        assert {guest.storage_bytes for guest in found.guests} == {storage_bytes}
