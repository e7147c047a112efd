"""What is told of GPUs, with stand-ins that behave as the frameworks' documentation says."""

from pathlib import Path

import pytest
from shell import Shell

MIB = 1 << 20
FAKES = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fake_frameworks; sys.path.pop(0); "


@pytest.fixture
def shell():
    child = Shell()
    yield child
    child.close()


def counters(facts, framework, device="0"):
    """(live, cached) before and after, in MiB."""
    found = []
    for when in ("frameworks_before", "frameworks"):
        memory = (facts[when] or {}).get(framework, {}).get(device)
        found.append(memory and tuple(n and n // MIB for n in (memory["live"], memory["cached"])))
    return found


def held_by(shell, kind):
    """The one holder of a kind."""
    (held,) = [row for row in shell.explain()["holders"] if row["kind"] == kind]
    return held


def on_gpu(facts, name):
    """({device: MiB} before, {device: MiB} now) of a variable."""
    row = next(row for row in facts["variables"] if row["name"] == name)
    return [{d: n // MIB for d, n in row[key].items()} for key in ("gpu_before", "gpu")]


def test_nothing_is_told_of_frameworks_that_are_not_there(shell):
    facts = shell.run("x = 1")
    assert facts["frameworks"] is facts["frameworks_before"] is None


@pytest.mark.parametrize("name", ["torch", "cupy", "jax"])
def test_what_is_live_and_what_a_pool_keeps_is_told_before_and_after_each_cell(shell, name):
    make = {"torch": "torch.Tensor", "cupy": "cupy.ndarray", "jax": "jax.Array"}[name]
    shell.run(f"{FAKES}{name} = fake_frameworks.{name}()")
    before, after = counters(shell.run(f"x = {make}(64 << 20); y = {make}(16 << 20)"), name)
    assert (before in (None, (0, 0)), after) == (True, (80, 0))
    assert counters(shell.run("del x"), name) == [(80, 0), (16, 64)]
    assert counters(shell.run("1"), name) == [(16, 64), (16, 64)]


def test_tensorflow_does_not_tell_what_its_pool_keeps(shell):
    shell.run(f"{FAKES}tf = fake_frameworks.tensorflow()")
    facts = shell.run("tf.memory['current'] = 32 << 20")
    assert counters(facts, "tensorflow") == [(0, None), (32, None)]


def test_tensorflow_that_was_not_started_is_not_asked(shell):
    shell.run(f"{FAKES}tf = fake_frameworks.tensorflow(started=False)")
    assert shell.run("1")["frameworks"] is None


def test_each_device_has_its_own_counters(shell):
    shell.run(f"{FAKES}torch = fake_frameworks.torch(devices=3)")
    facts = shell.run("x = torch.Tensor(8 << 20, device=2)")
    assert set(facts["frameworks"]["torch"]) == {"2"}
    assert on_gpu(shell.explain(), "x") == [{}, {"2": 8}]


def test_a_variable_is_told_with_its_bytes_on_the_gpu(shell):
    shell.run(f"{FAKES}torch = fake_frameworks.torch()")
    shell.run("x = [torch.Tensor(8 << 20)]; same = x[0]")
    facts = shell.explain()
    assert on_gpu(facts, "x") == [{}, {"0": 8}]
    assert not any(row["name"] == "same" and row.get("gpu") for row in facts["variables"]), "counted once"
    shell.run("x.append(torch.Tensor(24 << 20))")
    assert on_gpu(shell.explain(), "x") == [{"0": 8}, {"0": 32}]
    shell.run("del x, same")
    assert on_gpu(shell.explain(), "x") == [{"0": 32}, {}]


def test_what_the_output_history_keeps_on_a_gpu_is_told(shell):
    shell.run(f"{FAKES}torch = fake_frameworks.torch()")
    shell.run("torch.Tensor(40 << 20)")
    assert held_by(shell, "out")["gpu"] == {"0": 40 * MIB}


def test_a_graph_keeps_what_its_nodes_saved_on_the_gpu(shell):
    shell.run(f"{FAKES}torch = fake_frameworks.torch(); from fake_frameworks import Node")
    shell.run(
        "loss = torch.Tensor(4); loss.is_leaf = False\n"
        "loss.grad_fn = Node(torch.Tensor(16 << 20), [Node(torch.Tensor(48 << 20))])"
    )
    held = held_by(shell, "autograd")
    assert (held["gpu"], held["detail"]) == ({"0": 64 * MIB}, "2 nodes")


def test_a_small_view_of_a_large_tensor_pays_for_all_of_it(shell):
    shell.run(f"{FAKES}torch = fake_frameworks.torch()")
    shell.run("whole = torch.Tensor(64 << 20); views = [torch.Tensor(1024, of=whole)]; del whole")
    assert held_by(shell, "view")["gpu"] == {"0": 64 * MIB}


def test_a_view_of_cupy_pays_for_its_block_and_the_block_counts_once(shell):
    shell.run(f"{FAKES}cupy = fake_frameworks.cupy()")
    shell.run("x = cupy.ndarray(32 << 20).view(100); y = x.view(50)")
    facts = shell.explain()
    assert sum(sum(row.get("gpu", {}).values()) for row in facts["variables"]) == 32 * MIB


def test_an_array_of_jax_that_is_still_computed_is_not_waited_for(shell):
    shell.run(f"{FAKES}jax = fake_frameworks.jax()")
    shell.run("done = jax.Array(16 << 20); later = jax.Array(16 << 20, ready=False)")
    facts = shell.explain()
    assert on_gpu(facts, "done") == [{}, {"0": 16}]
    assert not any(row["name"] == "later" and row.get("gpu") for row in facts["variables"])
