"""The badge: where and when it is shown, and that it never harms an output of the person's."""

import pytest

from frontend import Frontend
from record import BADGE, badges, record_of

pytestmark = pytest.mark.ours

NOTABLE = "print('printed')\nkept = b'x' * (64 << 20)"


def kernel_with(start_kernel, mode=None, **env):
    if mode is not None:
        env["RUST_HYGIENE_BADGE"] = mode
    kernel = start_kernel(env=env)
    kernel.execute_ok("pass")
    return kernel


@pytest.fixture(scope="module")
def showing_kernel():
    """One kernel in mode `output` for the tests that need no other."""
    with Frontend(env={"RUST_HYGIENE_BADGE": "output"}) as kernel:
        kernel.execute_ok("pass")
        yield kernel


def test_headless_there_is_no_badge_but_a_record(start_kernel):
    kernel = kernel_with(start_kernel)
    exchange = kernel.execute_ok(NOTABLE)
    assert exchange.outputs == ["stdout"]
    assert record_of(exchange)["host"]["delta"] > 60 << 20


def test_under_a_jupyter_server_there_is_a_badge(start_kernel):
    kernel = kernel_with(start_kernel, JPY_SESSION_NAME="/home/someone/notebook.ipynb")
    assert len(badges(kernel.execute_ok(NOTABLE))) == 1


@pytest.mark.parametrize("mode", ["off", "metadata"])
def test_without_output_there_is_no_badge_but_a_record(start_kernel, mode):
    kernel = kernel_with(start_kernel, mode, JPY_SESSION_NAME="/home/someone/notebook.ipynb")
    exchange = kernel.execute_ok(NOTABLE)
    assert exchange.outputs == ["stdout"]
    assert record_of(exchange)["host"]["delta"] > 60 << 20


@pytest.mark.packages
def test_a_warning_badge_comes_with_a_leak_only(start_kernel):
    kernel = kernel_with(start_kernel, "warn")
    assert badges(kernel.execute_ok(NOTABLE)) == []
    kernel.execute_ok("import numpy as np")
    leaking = [kernel.execute_ok(code) for code in ("np.ones(40_000_000)", "pass", "pass")]
    assert [badge for exchange in leaking for badge in badges(exchange)]


def test_the_badge_is_one_display_after_all_outputs_and_before_idle(showing_kernel):
    code = "import sys\nprint('printed')\nprint('warned', file=sys.stderr)\nagain = b'y' * (64 << 20)\nlen(again)"
    exchange = showing_kernel.execute_ok(code)
    (badge,) = badges(exchange)
    assert exchange.iopub[-2] is badge
    assert exchange.outputs == ["stdout", "stderr", "execute_result", "display_data"]


def test_the_badge_is_a_bundle_of_three_marked_as_ours(showing_kernel):
    exchange = showing_kernel.execute_ok("bundle = b'z' * (64 << 20)")
    (badge,) = badges(exchange)
    assert set(badge.content["data"]) == set(BADGE)
    assert "rust_hygiene" in badge.content["metadata"]
    plain, html, record = (badge.content["data"][mime] for mime in BADGE)
    assert plain.strip() and html.lstrip().startswith("<")
    assert "<script" not in html.lower() and 'src="http' not in html.lower()
    said = record_of(exchange)
    assert (record["cell"], record["host"]) == (said["cell"], said["host"])


def test_a_cell_that_moves_nothing_has_no_badge(showing_kernel):
    for _ in range(3):
        assert badges(showing_kernel.execute_ok("1")) == []


def test_a_cell_that_fails_has_its_badge_after_the_error(showing_kernel):
    exchange = showing_kernel.execute("failed = b'f' * (64 << 20)\n1/0", stop_on_error=False)
    assert exchange.outputs == ["error", "display_data"]
    assert len(badges(exchange)) == 1


def allocate(name):
    return f"{name} = b'q' * (64 << 20)"


def test_a_silent_cell_has_no_badge(showing_kernel):
    assert showing_kernel.execute_ok(allocate("silent"), silent=True).outputs == []


def test_a_cell_outside_of_history_has_no_badge(showing_kernel):
    assert showing_kernel.execute_ok(allocate("unstored"), store_history=False).outputs == []


@pytest.mark.parametrize("code", ["", "  \n", "# a comment"])
def test_an_empty_cell_has_no_badge(showing_kernel, code):
    assert showing_kernel.execute_ok(code).outputs == []


def test_a_captured_cell_has_no_badge(showing_kernel):
    assert showing_kernel.execute_ok("%%capture held\n" + allocate("captured")).outputs == []


def test_a_badge_never_clears_the_last_figure(showing_kernel):
    """The idiom of live plots: the next output clears, and a badge would be the next output."""
    code = "from IPython.display import clear_output\n" + allocate("drawn")
    code += "\ndisplay('figure')\nclear_output(wait=True)"
    assert showing_kernel.execute_ok(code).outputs == ["display_data", "clear_output"]


def test_a_clear_that_has_happened_does_not_forbid_the_badge(showing_kernel):
    code = "from IPython.display import clear_output\n" + allocate("live")
    code += "\ndisplay('old')\nclear_output(wait=True)\ndisplay('new')"
    exchange = showing_kernel.execute_ok(code)
    assert exchange.outputs == ["display_data", "clear_output", "display_data", "display_data"]
    assert len(badges(exchange)) == 1


def test_a_badge_is_not_part_of_the_output_cache(showing_kernel):
    showing_kernel.execute_ok(allocate("cached"))
    assert showing_kernel.evaluate("any('hygiene' in type(v).__module__ for v in Out.values())") is False


def test_a_wrong_badge_mode_is_told_and_the_kernel_works(start_kernel):
    kernel = start_kernel(
        env={"RUST_HYGIENE_BADGE": "loud", "JPY_SESSION_NAME": "/home/someone/notebook.ipynb"}
    )
    first = kernel.execute_ok("1 + 1")
    assert first.result == "2"
    assert "RUST_HYGIENE_BADGE" in str(record_of(first)["notices"])
