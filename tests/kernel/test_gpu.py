"""GPU memory in records and findings, by a framework's own counters: a stand-in for torch that behaves as documented."""

from pathlib import Path

import pytest

from record import MIB, record_of

pytestmark = pytest.mark.ours

AGENT_TESTS = str(Path(__file__).parents[1] / "agent")


@pytest.fixture
def torch(kernel):
    """A session in which torch has started CUDA, and nothing is given back unasked."""
    kernel.execute_ok("%hygiene policy observe")
    kernel.execute_ok(f"import sys; sys.path.insert(0, {AGENT_TESTS!r}); import fake_frameworks")
    kernel.execute_ok("torch = fake_frameworks.torch(); sys.path.pop(0);")
    return kernel


def rows(record):
    """[(cause, owner, MiB)] on the first GPU, largest first."""
    found = [row for row in record["ledger"]["rows"] if row["space"] == "gpu0"]
    return [(row["cause"], row["owner"], row["bytes"] // MIB) for row in found]


def finding(record, cause):
    """The only one of this cause."""
    (found,) = [one for one in record["findings"] if one["cause"] == cause]
    return found


def test_a_tensor_is_a_variable_on_the_gpu(torch):
    exchange = torch.execute_ok("x = torch.Tensor(700 << 20)")
    record = record_of(exchange)
    assert record["gpu"] == [
        {
            "index": 0,
            "name": None,
            "used": 700 * MIB,
            "delta": 700 * MIB,
            "peak": None,
            "quality": "framework",
            "frameworks": {"torch": {"live": 700 * MIB, "cached": 0}},
        }
    ]
    assert rows(record) == [("variables", "x", 700)]


def test_freed_tensors_are_a_cache_and_the_hint_gives_it_back(torch):
    torch.execute_ok("x = torch.Tensor(300 << 20)")
    record = record_of(torch.execute_ok("del x"))
    assert sorted(rows(record)) == [("pool_cache", "torch", 300), ("variables", "x", -300)]
    found = finding(record, "pool_cache")
    assert found["bytes"] == 300 * MIB
    after = record_of(torch.execute_ok(found["hint"].replace("import torch; ", "")))
    assert after["gpu"][0]["used"] == 0 and rows(after) == [("pool_cache", "torch", -300)]


def test_a_result_that_only_the_output_history_keeps_on_the_gpu_is_found(torch):
    record = record_of(torch.execute_ok("torch.Tensor(200 << 20)"))
    found = finding(record, "ipython_refs")
    assert found["bytes"] // MIB == 200
    assert rows(record) == [("ipython_refs", found["culprit"]["name"], 200)]
    freed = record_of(torch.execute_ok(found["hint"]))
    assert ("ipython_refs", found["culprit"]["name"], -200) in rows(freed)
    assert freed["gpu"][0]["frameworks"]["torch"] == {"live": 0, "cached": 200 * MIB}


def test_a_list_of_tensors_that_grows_with_every_run_is_found(torch):
    torch.execute_ok("kept = []")
    records = [record_of(torch.execute_ok("kept.append(torch.Tensor(40 << 20))")) for _ in range(5)]
    found = [one for record in records for one in record["findings"] if one["cause"] == "user_growth"]
    assert found[0]["culprit"]["name"] == "kept" and found[0]["hint"] == "kept.clear()"


def test_a_graph_on_the_gpu_is_found(torch):
    record = record_of(
        torch.execute_ok(
            "loss = torch.Tensor(4); loss.is_leaf = False\n"
            "loss.grad_fn = fake_frameworks.Node(torch.Tensor(128 << 20))"
        )
    )
    found = finding(record, "autograd_graph")
    assert (found["culprit"]["name"], found["bytes"] // MIB) == ("loss", 128)
