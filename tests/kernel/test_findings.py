"""Findings: memory kept by accident is found, named, and really released by the hint."""

import pytest

from record import CAUSES, FINDINGS, MIB, record_of, status_bytes

pytestmark = pytest.mark.ours

BLOCK = 160_000_000


@pytest.fixture
def pid(kernel):
    """The interpreter's, after what other tests left is dropped."""
    kernel.execute_ok("%reset -f")
    kernel.execute_ok("import numpy as np, os")
    return kernel.evaluate("os.getpid()")


def findings_after(kernel, *exchanges):
    """What the records say of these cells; what is learnt in idle time comes with a later cell."""
    later = [kernel.execute_ok("pass") for _ in range(2)]
    return [finding for exchange in (*exchanges, *later) for finding in record_of(exchange)["findings"]]


def the_finding(findings, cause):
    found = [finding for finding in findings if finding["cause"] == cause]
    assert found, f"no {cause} in {findings}"
    return found[0]


def assert_hint_releases(kernel, pid, hint, size):
    before = status_bytes(pid, "VmRSS")
    kernel.execute_ok(hint)
    kernel.execute_ok("pass")
    released = before - status_bytes(pid, "VmRSS")
    assert released >= 0.9 * size, f"{hint!r} released {released / MIB:.0f} MiB of {size / MIB:.0f}"


def test_a_value_that_only_the_output_cache_keeps_is_found(kernel, pid):
    shown = kernel.execute_ok("np.ones(20_000_000)")
    finding = the_finding(findings_after(kernel, shown), "ipython_refs")
    assert finding["leak"] is True
    assert finding["bytes"] == pytest.approx(BLOCK, rel=0.1)
    assert f"{shown.content['execution_count']}" in finding["culprit"]["name"]
    assert_hint_releases(kernel, pid, finding["hint"], BLOCK)


def test_a_value_that_only_a_traceback_keeps_is_found(kernel, pid):
    kernel.execute_ok("def fails():\n    big = np.ones(20_000_000)\n    raise ValueError('with a big local')")
    failed = kernel.execute("fails()", stop_on_error=False)
    finding = the_finding(findings_after(kernel, failed), "traceback_refs")
    assert finding["leak"] is True
    assert finding["bytes"] == pytest.approx(BLOCK, rel=0.1)
    assert_hint_releases(kernel, pid, finding["hint"], BLOCK)


def test_a_variable_that_grows_with_every_run_is_found(kernel, pid):
    kernel.execute_ok("store = []")
    runs = [kernel.execute_ok("store.append(np.ones(2_500_000))") for _ in range(6)]
    finding = the_finding(findings_after(kernel, *runs), "user_growth")
    assert finding["culprit"] == {"kind": "variable", "name": "store"}
    assert "store" in finding["hint"] and "store" in finding["message"]
    assert (
        "Line 1 of the cell, `store.append(np.ones(2_500_000))`, adds to it in each run" in finding["message"]
    )
    assert_hint_releases(kernel, pid, finding["hint"], 100_000_000)


PLOT = """
from comm import create_comm
class Plot:
    def __init__(self, data):
        self.data, self.comm = data, create_comm(target_name='plots')
        self.comm.on_msg(lambda message: self.data)
"""


def test_what_only_open_comms_lead_to_is_found(kernel, pid):
    kernel.execute_ok(PLOT)
    runs = [kernel.execute_ok("Plot(np.ones(5_000_000)); None") for _ in range(3)]
    finding = the_finding(findings_after(kernel, *runs), "registry_callback")
    assert finding["culprit"] == {"kind": "library", "name": "comm"} and '"plots"' in finding["message"]
    assert_hint_releases(kernel, pid, finding["hint"], 120_000_000)


def test_a_list_that_is_only_gone_through_once_is_worth_knowing_and_no_alarm(kernel, pid):
    cell = "parts = []\nfor i in range(8):\n    parts.append(np.ones(500_000))\ntotal = sum(parts)"
    finding = the_finding(findings_after(kernel, kernel.execute_ok(cell)), "user_growth")
    assert (finding["leak"], finding["confidence"], finding["hint"]) == (False, "possible", "del parts")
    assert "line 3 fills it and line 4 goes through it once" in finding["message"]


def test_a_large_variable_is_no_leak(kernel, pid):
    loaded = kernel.execute_ok("data = np.ones(20_000_000)")
    assert [f for f in findings_after(kernel, loaded) if f["leak"]] == []


def test_work_that_frees_what_it_takes_is_no_leak(kernel, pid):
    runs = [kernel.execute_ok("_total = float(np.ones(20_000_000).sum())") for _ in range(6)]
    assert [f for f in findings_after(kernel, *runs) if f["leak"]] == []


def test_replacing_a_variable_with_every_run_is_no_leak(kernel, pid):
    runs = [kernel.execute_ok("replaced = np.ones(5_000_000)") for _ in range(6)]
    assert [f for f in findings_after(kernel, *runs) if f["leak"]] == []


def test_hygiene_leaks_publishes_every_finding_that_holds(kernel, pid):
    kernel.execute_ok("np.ones(20_000_000)")
    (shown,) = kernel.execute_ok("%hygiene leaks").of("display_data")
    bundle = shown.content["data"]
    assert {"text/plain", "text/html", FINDINGS} <= set(bundle)
    assert bundle[FINDINGS]["v"] == 1
    finding = the_finding(bundle[FINDINGS]["findings"], "ipython_refs")
    assert finding["hint"] in bundle["text/plain"]
    assert {f["cause"] for f in bundle[FINDINGS]["findings"]} <= CAUSES
    assert_hint_releases(kernel, pid, finding["hint"], BLOCK)


def test_hygiene_leaks_of_a_clean_session_finds_none(start_kernel):
    kernel = start_kernel()
    (shown,) = kernel.execute_ok("%hygiene leaks").of("display_data")
    assert shown.content["data"][FINDINGS] == {"v": 1, "findings": []}
