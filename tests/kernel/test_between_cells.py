"""What goes wrong between cells, or in the loop while a cell awaits, costs nobody the session."""

import time

import pytest

pytestmark = pytest.mark.ours

RAISED = {
    "sys.exit in a callback": (
        "import asyncio, sys\n_ = asyncio.get_running_loop().call_later(0.1, sys.exit, 3)",
        "SystemExit: 3",
    ),
    "sys.exit in a task": (
        "import asyncio, sys\nasync def leave():\n    await asyncio.sleep(0.1)\n    sys.exit(4)\ntask = asyncio.create_task(leave())",
        "SystemExit: 4",
    ),
    "a signal handler": (
        "import signal\ndef handler(*_): raise ValueError('of the handler')\nsignal.signal(signal.SIGALRM, handler)\n_ = signal.setitimer(signal.ITIMER_REAL, 0.1)",
        "ValueError: of the handler",
    ),
    "a signal handler, with a loop": (
        "import asyncio, signal\ndef handler(*_): raise ValueError('of the handler')\nsignal.signal(signal.SIGALRM, handler)\n_ = signal.setitimer(signal.ITIMER_REAL, 0.1)",
        "ValueError: of the handler",
    ),
}


@pytest.mark.parametrize("name", RAISED)
def test_what_is_raised_between_cells_is_shown_and_outlived(start_kernel, name):
    code, shown = RAISED[name]
    kernel = start_kernel()
    kernel.execute_ok("marker = 5")
    first = kernel.execute_ok(code)
    text = ""
    while shown not in text:
        text += kernel.take("iopub", first.request.is_parent_of, "the traceback").content["text"]
    assert "rust-hygiene" not in text
    assert kernel.execute_ok("marker").result == "5"


HOGS = {
    "a task that it awaits": "await asyncio.create_task(hog())",
    "a callback": "asyncio.get_running_loop().call_soon(spin)\nawait asyncio.sleep(1000)",
}


@pytest.mark.parametrize("name", HOGS)
def test_a_cell_whose_loop_is_held_up_ends_with_the_second_interrupt(start_kernel, name):
    kernel = start_kernel()
    kernel.execute_ok(
        "import asyncio, time\ndef spin():\n    while True: time.sleep(0.01)\nasync def hog(): spin()"
    )
    request = kernel.start(f"print('go', flush=True)\n{HOGS[name]}")
    kernel.take("iopub", lambda m: m.answers(request) and m.type == "stream", "go")
    time.sleep(0.2)
    kernel.interrupt_by_message()
    time.sleep(0.3)
    kernel.interrupt_by_message()
    exchange = kernel.collect(request)
    assert (exchange.status, exchange.content["ename"]) == ("error", "KeyboardInterrupt")
    assert kernel.execute_ok("1 + 1").result == "2"


def test_a_callback_that_never_ends_is_interrupted_for_the_next_cell(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("import asyncio, time\ndef spin():\n    while True: time.sleep(0.01)")
    kernel.execute_ok("_ = asyncio.get_running_loop().call_soon(spin)")
    request = kernel.start("1 + 1")
    time.sleep(0.3)
    kernel.interrupt_by_message()
    assert kernel.collect(request).result == "2"
