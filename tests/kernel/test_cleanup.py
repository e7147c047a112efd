"""Cleanup steps in a real kernel: done in idle time, measured, told in the next record, and never in anyone's way."""

import os
import re
import time
from pathlib import Path

import pytest

from frontend import Frontend
from record import record_of

MIB = 1 << 20
pytestmark = pytest.mark.ours

WARM = "warm = b'x' * 20_000_000; del warm"  # glibc raises its threshold for mappings
SLACK = "rows = [b'x' * 400_000 for _ in range(300)]; last = rows[-1]; del rows"
NODES = """
import gc
class Node:
    def __init__(self):
        self.me, self.data = self, bytearray(10 << 20)
def build():
    nodes = [Node() for _ in range(6)]
    gc.collect()  # into the oldest generation, which no cell's own garbage has collected
"""


@pytest.fixture
def start():
    """Starts kernels with settings; all end with the test."""
    started = []

    def start(**settings):
        env = {f"RUST_HYGIENE_POLICY_{name.upper()}": str(value) for name, value in settings.items()}
        started.append(Frontend(env={**env, "RUST_HYGIENE_LOG_LEVEL": "info"}))
        return started[-1]

    yield start
    for frontend in started:
        frontend.close()


def interpreter(kernel):
    return kernel.evaluate("__import__('os').getpid()")


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def until_logged(kernel, step, mib=0, timeout=30):
    """Until the log of the kernel says that the step gave so much back; no request disturbs it meanwhile."""
    deadline = time.monotonic() + timeout
    while all(
        int(host) < (mib - 1) * MIB
        for host in re.findall(rf"done {step} .*host=(-?\d+)", kernel.kernel_log())
    ):
        assert time.monotonic() < deadline, f"{step} was never logged: {kernel.kernel_log()}"
        kernel.pump(0.05)


def steps_of(kernel):
    """The steps that the next record tells."""
    steps = record_of(kernel.execute_ok("pass"))["steps"]
    return {step["step"]: step for step in sorted(steps, key=lambda step: step["released"]["host"])}


def test_tidy_gives_back_slack_and_says_so_once(start):
    kernel = start()
    pid = interpreter(kernel)
    kernel.execute_ok(WARM)
    kernel.execute_ok(SLACK)
    before = resident(pid)
    until_logged(kernel, "step=malloc_trim", 90)
    assert before - resident(pid) >= 100 * MIB
    trim = steps_of(kernel)["malloc_trim"]
    assert trim["trigger"] == "after_cell" and trim["took_s"] < 10
    assert abs(trim["released"]["host"] - (before - resident(pid))) < 16 * MIB
    assert steps_of(kernel) == {}, "a step is told once"
    assert re.search(r"cleanup: done step=malloc_trim trigger=\"after_cell\" host=\d+", kernel.kernel_log())


def test_tidy_collects_dead_cycles(start):
    kernel = start()
    kernel.execute_ok(NODES)
    kernel.execute_ok("build()")
    until_logged(kernel, "step=gc", 50)
    assert steps_of(kernel)["gc"]["released"]["host"] >= 50 * MIB


def test_what_a_step_gave_back_is_no_change_of_the_next_cell(start):
    kernel = start()
    kernel.execute_ok(WARM)
    kernel.execute_ok(SLACK)
    until_logged(kernel, "step=malloc_trim", 90)
    kernel.pump_for(0.5)
    ledger = record_of(kernel.execute_ok("kept = bytearray(b'x') * 20_000_000"))["ledger"]
    assert abs(ledger["residue"]) < 2 * MIB and ledger["explained"] > 0.85
    assert [row["owner"] for row in ledger["rows"] if abs(row["bytes"]) > 8 * MIB] == ["kept"]


def test_observe_does_nothing_and_suggest_only_tells(start):
    kernel = start(name="observe")
    pid = interpreter(kernel)
    kernel.execute_ok(WARM)
    kernel.execute_ok(SLACK)
    before = resident(pid)
    kernel.pump_for(2)
    assert before - resident(pid) < 16 * MIB and steps_of(kernel) == {}

    kernel = start(name="suggest")
    pid = interpreter(kernel)
    kernel.execute_ok(WARM)
    kernel.execute_ok(SLACK)
    before = resident(pid)
    kernel.pump_for(2)
    assert before - resident(pid) < 16 * MIB
    record = record_of(kernel.execute_ok("pass"))
    assert record["steps"] == []
    (told,) = [notice for notice in record["notices"] if "malloc_trim" in notice]
    assert told.startswith("%hygiene clean malloc_trim would free memory: it has glibc give back free pages")


def test_idle_steps_wait_for_their_time_and_strict_forgets_large_outputs(start):
    kernel = start(name="strict", idle_s=1, causes="figures")
    kernel.execute_ok("class Blob:\n    def __init__(self, mib): self.data = bytearray(mib << 20)")
    kernel.execute_ok("Blob(60)")
    kernel.execute_ok("7")
    until_logged(kernel, "step=clear_out", 55)
    step = steps_of(kernel)["clear_out"]
    assert step["trigger"] == "idle" and step["released"]["host"] >= 55 * MIB
    assert kernel.evaluate("sorted(Out)") == [3]


@pytest.mark.parametrize(
    ("code", "metadata"),
    [
        ("Blob(60)  # hygiene: keep", None),
        ("Blob(60)", {"tags": ["hygiene-keep"]}),
        ("Blob(60)", {"rust_hygiene": {"keep": True}}),
    ],
)
def test_a_kept_cell_keeps_its_output(start, code, metadata):
    kernel = start(name="strict", idle_s=1)
    kernel.execute_ok("class Blob:\n    def __init__(self, mib): self.data = bytearray(mib << 20)")
    kernel.execute_ok(code, metadata=metadata)
    kernel.execute_ok("Blob(61)")
    until_logged(kernel, "step=clear_out", 55)
    assert kernel.evaluate("sorted(Out)") == [2]


def test_a_cell_that_comes_during_steps_is_not_kept_waiting_by_the_rest(start):
    kernel = start()
    kernel.execute_ok(NODES)
    for _ in range(10):
        kernel.execute_ok("build()")
        kernel.pump_for(0.16)  # about when steps begin
        began = time.monotonic()
        assert kernel.execute_ok("21 * 2").result == "42"
        assert time.monotonic() - began < 5
    record = record_of(kernel.execute_ok("pass"))
    assert abs(record["host"]["delta"]) < 4 * MIB, "what a step gave back is not of the cell after it"


def test_finalisers_run_on_the_main_thread_and_their_output_belongs_to_the_last_cell(start):
    kernel = start()
    kernel.execute_ok(NODES)
    kernel.execute_ok(
        "import threading\ndef bye(self): print('bye', threading.current_thread().name)\nNode.__del__ = bye"
    )
    cell = kernel.start("build()")
    kernel.collect(cell)
    kernel.wait_for_stream(cell, "bye MainThread\n" * 6)
    kernel.unread["iopub"].clear()


def test_a_finaliser_that_fails_or_never_ends_can_be_interrupted(start):
    kernel = start()
    kernel.execute_ok(NODES)
    kernel.execute_ok(
        "import time\ndef bye(self):\n    print('here', flush=True)\n    time.sleep(600)\nNode.__del__ = bye"
    )
    cell = kernel.start("build()")
    kernel.collect(cell)
    kernel.wait_for_stream(cell, "here")
    waiting = kernel.start("1 + 1")
    for _ in range(6):
        kernel.interrupt_by_message()
        kernel.pump_for(0.5)
    assert kernel.collect(waiting).result == "2"
    kernel.unread["iopub"].clear()


def test_a_finaliser_that_a_first_survey_could_meet_does_not_end_all(start):
    kernel = start()
    kernel.execute_ok(
        "import gc, time\nclass Slow:\n    def __init__(self): self.me = self; self.big = bytearray(40_000_000)\n"
        "    def __del__(self): time.sleep(1000)\nSlow(); None"
    )
    kernel.pump_for(1.5)  # whatever is done in idle time is being done
    cell = kernel.start("print('next')")
    kernel.pump_for(0.5)
    kernel.interrupt_by_message()
    kernel.collect(cell)
    assert kernel.execute_ok("print('one more')").stdout.endswith("one more\n")
    kernel.unread["iopub"].clear()  # where Python says that the exception is ignored


def test_the_exception_of_a_kept_cell_stays(start):
    kernel = start(name="strict", traceback_bytes=1, idle_s=1)
    kernel.execute_ok("def f(): big = bytearray(60 << 20); 1 / 0")
    assert kernel.execute("# hygiene: keep\nf()").status == "error"
    kernel.execute_ok("class Blob:\n    def __init__(self, mib): self.data = bytearray(mib << 20)\nBlob(60)")
    kernel.execute_ok("7")
    until_logged(kernel, "step=clear_out", 55)
    assert kernel.evaluate("__import__('sys').last_value.args") == ("division by zero",)
    assert kernel.execute("f()").status == "error"  # this one may be forgotten
    kernel.execute_ok("7")
    until_logged(kernel, "step=clear_traceback")


def test_clean_gives_back_what_is_named_now(start):
    kernel = start(name="observe")
    kernel.execute_ok(WARM)
    kernel.execute_ok(SLACK)
    dry = kernel.execute_ok("%hygiene clean malloc_trim --dry-run")
    assert re.search(r"malloc_trim +would be done: asked for, about \d+ MiB", dry.stdout)
    assert record_of(dry)["steps"] == []
    cleaned = kernel.execute_ok("%hygiene clean malloc_trim")
    assert re.search(r"malloc_trim +freed \d+ MiB in \d+ ms", cleaned.stdout)
    (step,) = record_of(cleaned)["steps"]
    assert (step["step"], step["trigger"]) == ("malloc_trim", "asked")
    assert step["released"]["host"] >= 100 * MIB
    everything = kernel.execute_ok("%hygiene clean").stdout
    assert "gc " in everything and "malloc_trim" in everything and "figures" not in everything
    bad = kernel.execute("%hygiene clean trim")
    assert bad.status == "error" and "there is no step" in bad.content["evalue"]


BROKEN = "import sys, types\ndef is_initialized(): raise RuntimeError('of another version')\nsys.modules['torch.cuda'] = types.SimpleNamespace(is_initialized=is_initialized)"


def test_a_step_that_fails_says_so_in_the_kernels_log_and_not_in_the_cell(start):
    kernel = start()
    kernel.execute_ok(BROKEN)
    exchange = kernel.execute_ok("%hygiene clean torch_cache")
    assert "the log says how" in exchange.stdout and exchange.stderr == ""
    assert "looking for what torch_cache could give back failed" in kernel.kernel_log()
    assert "RuntimeError: of another version" in kernel.kernel_log()


def test_clean_says_what_cannot_be_done_and_why(start):
    kernel = start()
    said = kernel.execute_ok("%hygiene clean torch_cache figures").stdout
    assert re.search(r"torch_cache +not done: there is nothing for it to do", said)
    kernel.execute_ok("import gc; gc.disable(); gc.callbacks.append(print)")
    said = kernel.execute_ok("%hygiene clean gc").stdout
    assert re.search(r"gc +not done: the program has switched the collector off and listens to it", said)
    kernel.execute_ok("gc.callbacks.clear()")


def test_the_policy_is_shown_explained_and_set(start):
    kernel = start()
    assert kernel.execute_ok("%hygiene policy").stdout.startswith("policy tidy\n")
    explained = kernel.execute_ok("%hygiene policy explain").stdout
    assert (
        "gc               -     only" in explained
        and "not listed by the policy: clear_traceback" in explained
    )
    assert kernel.execute_ok("%hygiene policy set strict min_bytes=1MiB").stdout == "policy strict\n"
    assert 'policy.min_bytes = "1 MiB"' in kernel.execute_ok("%hygiene policy show").stdout
    for bad, said in [
        ("set tidyer", "is not allowed; use one of observe, suggest"),
        ("set min_byte=1", "did you mean `policy.min_bytes`?"),
        ("set", "set what?"),
        ("sett", "use %hygiene policy show"),
    ]:
        refused = kernel.execute(f"%hygiene policy {bad}")
        assert refused.status == "error" and said in refused.content["evalue"]
    assert kernel.execute_ok("%hygiene policy").stdout.startswith("policy strict\n"), "nothing has changed"
    assert "has no effect while" in kernel.execute_ok("%hygiene policy set on_idle=gc").stdout
    assert kernel.execute_ok("%hygiene policy custom").stdout == "policy custom\n"


def test_a_notebook_carries_a_policy_in_the_metadata_of_a_cell(start):
    kernel = start()
    ours = {"policy": {"name": "custom", "on_idle": ["gc"], "idle_s": 3}}
    kernel.execute_ok("pass", metadata={"rust_hygiene": ours})
    shown = kernel.execute_ok("%hygiene policy", metadata={"rust_hygiene": ours}).stdout
    assert (
        shown.startswith("policy custom\n")
        and 'policy.on_idle = ["gc"]' in shown
        and "policy.idle_s = 3" in shown
    )
    kernel.execute_ok("%hygiene policy set observe")
    again = kernel.execute_ok("%hygiene policy", metadata={"rust_hygiene": ours}).stdout
    assert again.startswith("policy observe\n"), (
        "what is set by hand holds while the metadata says nothing new"
    )
    bad = kernel.execute_ok("pass", metadata={"rust_hygiene": {"policy": {"nam": "tidy"}}})
    assert any("did you mean `policy.name`?" in notice for notice in record_of(bad)["notices"])
    bad = kernel.execute_ok("pass", metadata={"rust_hygiene": {"policy": 7}, "tags": "no list"})
    assert any("must be a name or a table" in notice for notice in record_of(bad)["notices"])


def test_before_a_cell_that_will_not_fit_memory_is_made_free(start):
    kernel = start()
    pid = interpreter(kernel)
    kernel.execute_ok("%hygiene policy set custom before_cell=malloc_trim")
    kernel.execute_ok(WARM)
    peak = "x = b'x' * 200_000_000; del x"
    kernel.execute_ok(peak)
    kernel.execute_ok(SLACK)
    assert steps_of(kernel) == {}, "it fits"
    limited = Frontend(
        env={
            "RUST_HYGIENE_POLICY_NAME": "custom",
            "RUST_HYGIENE_POLICY_BEFORE_CELL": "malloc_trim",
            "RUST_HYGIENE_MEMORY_LIMIT": str(resident(pid) + 150_000_000),
        }
    )
    try:
        for code in (WARM, peak, SLACK):
            limited.execute_ok(code)
        step = record_of(limited.execute_ok(peak))["steps"][0]
        assert (step["step"], step["trigger"]) == ("malloc_trim", "before_cell")
        assert step["released"]["host"] >= 100 * MIB
    finally:
        limited.close()


TORCH = """
import sys, types
class Device:
    reserved, emptied = 900 << 20, 0
cuda = types.ModuleType("torch.cuda")
cuda._initialized = True
cuda.is_initialized = lambda: True
cuda.device_count = lambda: 1
cuda.memory_reserved = lambda d=0: Device.reserved
cuda.memory_allocated = lambda d=0: 0
cuda.memory_stats = lambda d=0: {"reserved_bytes.all.current": Device.reserved, "allocated_bytes.all.current": 0}
def empty_cache():
    Device.emptied, Device.reserved = Device.emptied + 1, 0
cuda.empty_cache = empty_cache
native = types.ModuleType("torch._C")
native._cuda_getDeviceCount = lambda: 1
native._cuda_memoryStats = lambda d: {
    "reserved_bytes": {"all": {"current": Device.reserved}}, "allocated_bytes": {"all": {"current": 0}}
}
torch = types.ModuleType("torch")
torch.cuda, torch._C = cuda, native
sys.modules.update({"torch": torch, "torch.cuda": cuda, "torch._C": native})
notable = bytearray(20 << 20)
"""


def test_a_finding_is_a_trigger_of_its_own_and_waits_for_an_idle_moment(start):
    kernel = start()
    findings = record_of(kernel.execute_ok(TORCH))["findings"]
    assert [finding["step"] for finding in findings if finding["cause"] == "pool_cache"] == ["torch_cache"]
    for _ in range(5):
        assert record_of(kernel.execute_ok("pass", silent=True))["steps"] == []
    until_logged(kernel, "step=torch_cache")
    step = steps_of(kernel)["torch_cache"]
    assert (step["trigger"], step["released"]["gpu"]) == ("finding", 900 * MIB)
    assert kernel.evaluate("Device.emptied") == 1


def test_pressure_is_a_trigger_of_its_own(start):
    kernel = Frontend(
        env={
            "RUST_HYGIENE_POLICY_NAME": "custom",
            "RUST_HYGIENE_POLICY_ON_PRESSURE": "malloc_trim",
            "RUST_HYGIENE_MEMORY_LIMIT": "150 MiB",
            "RUST_HYGIENE_LOG_LEVEL": "info",
        }
    )
    try:
        kernel.execute_ok(WARM)
        kernel.pump_for(1)
        assert steps_of(kernel) == {}
        kernel.execute_ok(SLACK)
        until_logged(kernel, "step=malloc_trim", 90)
        assert steps_of(kernel)["malloc_trim"]["trigger"] == "pressure"
    finally:
        kernel.close()


def test_an_exception_is_a_trigger_of_its_own_and_debug_still_works(start):
    kernel = start(name="strict", traceback_bytes=1)
    kernel.execute_ok(NODES)
    assert kernel.execute("build(); 1 / 0").status == "error"
    until_logged(kernel, "step=gc", 50)
    assert steps_of(kernel)["gc"]["trigger"] == "exception"
    assert kernel.evaluate("__import__('sys').last_value.args") == ("division by zero",)


def test_nothing_is_due_in_a_kernel_that_rests(start):
    """No wake-ups: the front's own count of voluntary switches stands still."""
    kernel = start()
    kernel.execute_ok(WARM)
    kernel.execute_ok(SLACK)
    until_logged(kernel, "step=malloc_trim", 90)
    kernel.pump_for(7)  # past idle_s

    def switches():
        text = Path(f"/proc/{kernel.pid}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.MULTILINE)[1])

    before = switches()
    kernel.pump_for(3)
    assert switches() - before <= 2
