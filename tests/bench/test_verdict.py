"""The verdict on a bench run: tables of made-up results."""

import pytest
from verdict import TARGETS, judge, table


def results(ratios=None, values=None, errors=()):
    return {
        "kernels": ["python3", "rust-hygiene"],
        "ratios": {row: {"rust-hygiene": ratio} for row, ratio in (ratios or {}).items()},
        "values": values or {},
        "errors": list(errors),
    }


def verdict_on(name, *args, **kwargs):
    return next(v for v in judge(results(*args, **kwargs)) if v.what == name)


RATIOS = [target for target in TARGETS if not target.unit]


@pytest.mark.parametrize("target", RATIOS, ids=lambda target: target.row)
def test_a_ratio_at_its_bound_is_met_and_above_it_is_missed(target):
    assert verdict_on(target.what, {target.row: target.at_most}).met is True
    assert verdict_on(target.what, {target.row: target.at_most * 1.01}).met is False


def test_an_absolute_bound_is_compared_with_the_median_of_our_own_values():
    name = "control while the GIL is held"
    row = "responsiveness.gil_control_ms"
    fast = {row: {"rust-hygiene": {"0": 1.0, "1": 4.0, "2": 3700.0}}}
    slow = {row: {"rust-hygiene": {"0": 1.0, "1": 6.0, "2": 3700.0}}}
    assert verdict_on(name, values=fast).met is True
    assert verdict_on(name, values=slow).met is False


def test_what_was_not_measured_is_neither_met_nor_missed():
    assert {v.met for v in judge(results())} == {None}


@pytest.mark.parametrize(("ours", "met"), [(0, True), (60, True), (61, False)])
def test_we_wake_up_no_more_often_than_the_first_kernel(ours, met):
    values = {"footprint.idle_wakeups_per_min": {"python3": {"0": 60}, "rust-hygiene": {"0": ours}}}
    assert verdict_on("idle wake-ups a minute", values=values).met is met


def test_one_failed_round_of_a_check_is_a_miss():
    values = {"stream_lines.exact_ok": {"python3": {"0": 1}, "rust-hygiene": {"0": 1, "1": 0}}}
    verdict = verdict_on("stream_lines.exact_ok", values=values)
    assert (verdict.met, verdict.measured) == (False, "1/2")


def test_a_failure_of_ours_is_a_miss_and_a_failure_of_a_peer_is_not():
    errors = [
        {"metric": "crash", "kernel": "python3", "round": 0, "error": "KernelDied: gone"},
        {"metric": "restart", "kernel": "rust-hygiene", "round": 1, "error": "KernelDied: gone"},
    ]
    missed = [v for v in judge(results(errors=errors)) if v.met is False]
    assert [v.what for v in missed] == ["restart"]
    assert missed[0].measured == "round 2: KernelDied: gone"


def test_the_table_counts_the_checks_that_hold_and_names_those_that_do_not():
    values = {
        "stream_lines.exact_ok": {"rust-hygiene": {"0": 1}},
        "display_many.complete_ok": {"rust-hygiene": {"0": 0}},
    }
    text = table(judge(results(values=values)))
    assert "stream_lines.exact_ok" not in text
    assert "display_many.complete_ok" in text
    assert text.endswith("checks that held in every round: 1 of 2")
