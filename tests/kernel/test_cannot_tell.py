"""The user's program cannot tell whether it is measured.

The same cells run in a kernel that measures and in one that does not. Between them memory moves little, much, and in ways
that are warned of; before and after, each probe prints what a program can see of its surroundings. All that is printed must
be the same. What may differ stands in docs/configuration.md and has a test of its own here: `ru_maxrss`, and what
tracemalloc counts of our own work.
"""

import pytest

from frontend import Frontend
from probes import EVENTS, FAILS, FAKES, HOSTILE, LAZY, MORTALS, PROBES, START, TRACED
from record import record_of

pytestmark = pytest.mark.ours


def kernel_that(measures):
    """A kernel whose memory is measured, or not. Sets are walked in the same order in both."""
    return Frontend(
        env={
            "RUST_HYGIENE_MEASURE": "true" if measures else "false",
            "RUST_HYGIENE_BADGE": "off",
            # These have settings of their own: a step collects garbage, and the limit follows the free memory.
            "RUST_HYGIENE_POLICY_NAME": "observe",
            "RUST_HYGIENE_GUARD_LEVEL": "off",
            "PYTHONHASHSEED": "0",
        }
    )


def go_through(kernel, events=EVENTS):
    """Runs the cells of each event; yields its name and its records."""
    for event in events:
        records = []
        for code in EVENTS[event]:
            exchange = kernel.execute(code, stop_on_error=False)
            assert exchange.status == ("error" if code in FAILS else "ok"), exchange.content
            if "rust_hygiene" in exchange.reply.metadata:
                records.append(record_of(exchange))
        yield event, records


def printed_by(measures, setup, looks, events=EVENTS):
    """What each expression of `looks` is at first and after each event, as a list; and what the records say."""
    kernel = kernel_that(measures)
    try:
        for code in (START, *setup):
            kernel.execute_ok(code)
        kernel.pump_for(2.0)  # work put off to an idle moment is done
        printed, recorded = {look: [] for look in looks}, {}

        def look_at_all(event):
            for look in looks:
                printed[look].append((event, kernel.execute_ok(f"print({look})").stdout))

        look_at_all("start")
        for event, records in go_through(kernel, events):
            recorded[event] = records
            look_at_all(event)
        kernel.close()
    finally:
        kernel.kill()
    return printed, recorded


@pytest.fixture(scope="module")
def both():
    """(measured, unmeasured): what all probes saw, and the records."""
    setup, looks = zip(*PROBES.values(), strict=True)
    return [printed_by(measures, setup, looks) for measures in (True, False)]


def test_the_one_was_measured_and_the_other_was_not(both):
    (_, records), (_, none) = both
    explained = {event for event, found in records.items() if any(record["variables"] for record in found)}
    assert explained >= {"kept", "dropped", "grown", "many"}
    causes = {f["cause"] for found in records.values() for record in found for f in record["findings"]}
    assert causes >= {"ipython_refs", "traceback_refs", "user_growth"}
    assert not any(none.values())


@pytest.mark.parametrize("name", PROBES)
def test_a_program_sees_the_same(name, both):
    _, look = PROBES[name]
    (measured, _), (unmeasured, _) = both
    assert measured[look] == unmeasured[look]


def same_in_both(setup, look, events=EVENTS):
    """What is printed in both kernels, which must be the same."""
    (measured, _), (unmeasured, _) = (
        printed_by(measures, setup, [look], events) for measures in (True, False)
    )
    assert measured == unmeasured
    return [text for _, text in measured[look]]


# Nothing is loaded, nothing of a framework touched ----------------------------------------------------------------


def test_no_module_is_loaded_but_our_own():
    same_in_both([], "sorted(name for name in sys.modules if not name.startswith('rust_hygiene_agent'))")


def test_no_attribute_of_a_framework_is_touched():
    # a traceback looks at every module for its file
    events = [event for event in EVENTS if event != "failed"]
    assert set(same_in_both([FAKES], "touched", events)) == {"[]\n"}


def test_a_framework_that_loads_itself_when_touched_stays_unloaded():
    events = [event for event in EVENTS if event != "failed"]
    assert set(same_in_both([LAZY], "loaded", events)) == {"[]\n"}


# No code of the user's runs -----------------------------------------------------------------------------------------


def test_no_code_of_the_users_runs():
    setup = [HOSTILE, "Out[9999] = made[0]; globals()['_9999'] = made[1]"]
    assert set(same_in_both(setup, "ran")) == {"[]\n"}


def test_no_special_method_of_a_numpy_array_is_called():
    setup = [
        HOSTILE,
        (
            "import numpy as np\n"
            "Array = type('Array', (np.ndarray,), {**without('__getattribute__', '__dict__', '__class__'), '__array_finalize__': lambda self, other: None})\n"
            "big = np.ndarray.__new__(Array, (100_000,)); boxed = np.ndarray.__new__(np.ndarray, (3,), object)\n"
            "np.ndarray.fill(boxed, made[0]); Array.__array_finalize__ = note\nran.clear()"
        ),
    ]
    assert set(same_in_both(setup, "ran")) == {"[]\n"}


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
def test_a_trace_function_is_not_told_of_our_work(kind):
    setup = [TRACED, f"sys.{kind}(tracer)"]
    looks = same_in_both(setup, f"watched(), sys.get{kind[3:]}() is tracer, len(seen) > 3")
    assert set(looks) == {"[] True True\n"}


def test_a_profiler_of_cprofile_goes_on():
    setup = ["import cProfile; profiler = cProfile.Profile(); profiler.enable()"]
    same_in_both(setup, "sys.getprofile() is profiler")


# When things die ------------------------------------------------------------------------------------------------------


def collector_in(measures, cells, look):
    """What `look` is after each cell, in a kernel that has explained before and has collected all since."""
    kernel = kernel_that(measures)
    try:
        kernel.execute_ok(START)
        kernel.execute_ok(MORTALS)
        kernel.pump_for(2.0)
        for code in ("Shown(60_000_000)", "kept = bytearray(b'x') * 8_000_000", "del kept"):
            kernel.execute_ok(code)
        kernel.execute("fails(60_000_000)", stop_on_error=False)
        kernel.execute_ok("gc.collect(); gc.collect();")
        seen = []
        for code in cells:
            kernel.execute_ok(code)
            seen.append(eval(kernel.execute_ok(f"print({look})").stdout))
        kernel.close()
        return seen
    finally:
        kernel.kill()


def test_the_collector_counts_a_quiet_cell_the_same():
    cells = ["pass", "x = 1", "y = [1]", "y.append(2)", "del x"] * 6
    measured, unmeasured = (collector_in(measures, cells, "gc.get_count()") for measures in (True, False))
    differences = [(a - b, *c, *d) for (a, *c), (b, *d) in zip(measured, unmeasured, strict=True)]
    assert max(difference for difference, *_ in differences) <= len(cells) // 4
    assert {tuple(rest) for _, *rest in differences} == {(0, 0, 0, 0)}


def test_the_collector_hardly_notices_an_explanation():
    """Ours come and go. The first one fills the interpreter's free lists (of tuples, of lists, of dicts), which `gc.collect()` had
    emptied: objects there stay in the count. That is less than a young collection once, and nothing is added from then on."""
    cells = ["kept = bytearray(b'x') * 8_000_000", "del kept"] * 10
    measured, unmeasured = (collector_in(measures, cells, "gc.get_count()[0]") for measures in (True, False))
    differences = [a - b for a, b in zip(measured, unmeasured, strict=True)]
    assert max(differences) < 700
    assert max(differences) - min(differences) <= 20


def test_what_dies_dies_in_the_same_cell():
    cells = []
    for number in range(1, 61):
        cells.append(f"cell = {number}; litter(1000)" + ("; once = Counted()" if number % 10 == 0 else ""))
        cells.append("kept = bytearray(b'x') * 8_000_000; del kept" if number % 12 == 0 else "pass")
    measured, unmeasured = (collector_in(measures, cells, "died")[-1] for measures in (True, False))
    # Without a cycle it goes at once, when the next one is made; then it is that cell's.
    at_once = [entry for entry in measured if isinstance(entry, tuple)]
    assert at_once == [("at once", number) for number in range(20, 61, 10)]
    assert at_once == [entry for entry in unmeasured if isinstance(entry, tuple)]
    # When a cycle goes is up to the collector, which has 700 objects to go by.
    cycles = [[entry for entry in died if isinstance(entry, int)] for died in (measured, unmeasured)]
    assert len(cycles[1]) > 50_000
    assert {a - b for a, b in zip(*cycles, strict=False)} <= {-1, 0, 1}


# What may differ ------------------------------------------------------------------------------------------------------

PEAK = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"


def test_without_reset_of_the_peak_the_programs_own_high_water_mark_is_left_alone(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_RESET_PEAK": "false"})
    kernel.execute_ok("import resource; len(b'x' * 300_000_000)")
    high = kernel.evaluate(PEAK)
    for _ in range(3):
        kernel.execute_ok("kept = bytearray(b'x') * 8_000_000")
    assert kernel.evaluate(PEAK) >= high > 300_000


def test_with_it_the_mark_is_that_of_the_cell(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("import resource; len(b'x' * 300_000_000)")
    kernel.execute_ok("pass")
    assert kernel.evaluate(PEAK) < 300_000


def test_tracemalloc_is_given_back_what_we_took(start_kernel):
    """It counts ours while we explain, so its peak may be ours; what it counts as in use is the user's."""
    kernel = start_kernel()
    kernel.execute_ok("import tracemalloc; items = [[i] for i in range(100_000)]")
    kernel.execute_ok("kept = bytearray(b'x') * 8_000_000")
    kernel.execute_ok("tracemalloc.start()")
    before = kernel.evaluate("tracemalloc.get_traced_memory()[0]")
    for _ in range(5):
        kernel.execute_ok("kept = bytearray(b'x') * 8_000_000")
    after = kernel.evaluate("tracemalloc.get_traced_memory()[0]")
    assert abs(after - before - 8_000_000) < 500_000
