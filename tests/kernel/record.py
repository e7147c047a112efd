"""The cell record: found in a reply, held against its schema, and against what this process sees from outside."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "cell-record.v1.json"
MIB = 1 << 20

BADGE = ("text/plain", "text/html", "application/vnd.rust-hygiene.cell+json")
FINDINGS = "application/vnd.rust-hygiene.findings+json"

CAUSES = {
    "user_growth",
    "ipython_refs",
    "traceback_refs",
    "ref_cycle",
    "figures",
    "autograd_graph",
    "allocator_retention",
    "pool_cache",
    "child_process",
    "open_resource",
    "framework_state",
    "cache_growth",
    "registry_callback",
    "suspended_execution",
    "view_retention",
    "native_leak",
}


def validator():
    return Draft202012Validator(json.loads(SCHEMA.read_text()))


def record_of(exchange):
    """The record in the reply's metadata, checked."""
    record = exchange.reply.metadata["rust_hygiene"]
    validator().validate(record)
    assert_null_where_unmeasured(record)
    for finding in record["findings"]:
        assert finding["hint"] and finding["message"], finding
        assert finding["confidence"] in ("certain", "likely", "possible"), finding
        assert finding["culprit"]["name"], finding
    return record


def assert_null_where_unmeasured(record):
    """A process that runs holds memory: a zero is a measurement that was not made."""
    host = record["host"]
    for field in ("before", "after", "peak", "limit"):
        assert host[field] is None or host[field] > 0, f"host.{field} of {record}"
    if host["before"] is None or host["after"] is None:
        assert host["delta"] is None, f"host.delta of {record}"
    else:
        assert host["delta"] == host["after"] - host["before"]
    children = host["children"]
    if children is not None and children["count"]:
        assert children["pss"] is None or children["pss"] > 0, f"host.children of {record}"
    for gpu in record["gpu"]:
        if gpu["quality"] == "unavailable":
            assert (gpu["used"], gpu["delta"], gpu["peak"]) == (None, None, None), gpu


def status_bytes(pid, field):
    """A size from /proc/PID/status, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def badges(exchange):
    return [m for m in exchange.of("display_data") if BADGE[2] in m.content["data"]]
