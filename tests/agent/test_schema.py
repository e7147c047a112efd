"""The schema of the cell record: the ledger's examples pass, records with one mistake do not."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parents[2] / "docs/schema"
SCHEMA = json.loads((FOLDER / "cell-record.v1.json").read_text())
EXAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "examples").glob("*.json"))}
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["full", "unmeasured"])
def test_a_record_of_the_ledger_is_valid(name):
    assert list(map(str, VALIDATOR.iter_errors(EXAMPLES[name]))) == []


def test_a_record_with_a_field_of_the_future_is_valid():
    assert VALIDATOR.is_valid({**EXAMPLES["full"], "future": 1})


MISTAKES = [
    (("v",), 2),
    (("cell", "run"), 0),
    (("cell", "status"), "failed"),
    (("cell", "source_hash"), "xyz"),
    (("wall_s",), -1),
    (("host", "peak"), 1.5),
    (("host", "before"), -1),
    (("host", "peak_quality"), "good"),
    (("host", "limit_source"), "cgroup"),
    (("gpu", 0, "quality"), "exact"),
    (("gpu", 0, "frameworks", "torch"), {"live": 1}),
    (("variables", 0, "change"), "changed"),
    (("ledger", "rows", 0, "space"), "gpu"),
    (("ledger", "rows", 0, "cause"), "magic"),
    (("ledger", "explained"), 1.5),
    (("findings", 0, "cause"), "variables"),
    (("findings", 0, "culprit", "kind"), "owner"),
    (("findings", 0, "confidence"), "sure"),
    (("findings", 0, "hint"), ""),
    (("steps", 0, "released"), 5),
]


@pytest.mark.parametrize(("path", "value"), MISTAKES, ids=lambda part: str(part))
def test_a_mistake_is_refused(path, value):
    record = copy.deepcopy(EXAMPLES["full"])
    place = record
    for step in path[:-1]:
        place = place[step]
    assert path[-1] in place or isinstance(place, list)
    place[path[-1]] = value
    assert not VALIDATOR.is_valid(record)


def test_every_field_of_the_contract_is_required():
    for name in SCHEMA["required"]:
        record = copy.deepcopy(EXAMPLES["full"])
        del record[name]
        assert not VALIDATOR.is_valid(record), name
