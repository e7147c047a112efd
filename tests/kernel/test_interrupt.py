"""Interrupts: they end the cell that runs, nothing else, and every request is still answered."""

import random
import re
import time

import pytest

from frontend import KERNEL
from test_subshells import create, on

ours = pytest.mark.ours
how = pytest.mark.parametrize("how", ["message", "signal"])


def interrupt(kernel, how):
    getattr(kernel, f"interrupt_by_{how}")()


RUNNING = "print('running', flush=True)"


def run_and_interrupt(kernel, code, how):
    """Interrupt a cell once it has said that it runs; it says so first unless its code does."""
    cell = kernel.start(code if RUNNING in code else f"{RUNNING}\n{code}")
    kernel.wait_for_stream(cell, "running\n")
    # Python drops an exception that a signal raises inside a finaliser or a callback, which printing may run. Here the
    # cell is to be where it waits; the tests at the end of this file interrupt at any moment.
    kernel.pump_for(0.1)
    interrupt(kernel, how)
    return kernel.collect(cell)


def assert_alive(kernel):
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


BUSY = {
    "a pure loop": "while True: pass",
    "a sleep": "import time; time.sleep(1000)",
    "a lock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "a thread's end": "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    "threading.Event().wait()",
    "a join": "import threading; t = threading.Thread(target=threading.Event().wait, daemon=True); t.start()\nt.join()",
    "a queue": "import queue; queue.Queue().get()",
    "a future": "import concurrent.futures as f; f.Future().result()",
    "a select": "import select; select.select([], [], [])",
    # It keeps the GIL: the pause lets ipykernel's thread publish the line before.
    "a regular expression": "import re, time; time.sleep(0.2); re.match(r'(a+)+b', 'a' * 40)",
    "a child": "import subprocess; subprocess.run(['sleep', '1000'])",
    "an endless print": "while True: print('more')",
}


@how
@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
def test_an_interrupt_ends(kernel, code, how):
    exchange = run_and_interrupt(kernel, code, how)
    assert (exchange.status, exchange.content["ename"]) == ("error", "KeyboardInterrupt")
    assert_alive(kernel)


AWAITS = {
    "await sleep": "import asyncio; await asyncio.sleep(1000)",
    "await a future": "import asyncio; await asyncio.get_running_loop().create_future()",
    "await a gather": "import asyncio; await asyncio.gather(*(asyncio.sleep(1000) for _ in range(3)))",
    "an async loop": "import asyncio\nwhile True: await asyncio.sleep(0)",
}


@ours
@how
@pytest.mark.parametrize("code", AWAITS.values(), ids=AWAITS)
def test_an_interrupt_ends_an(kernel, code, how):
    """ipykernel cannot: its event loop swallows the signal."""
    exchange = run_and_interrupt(kernel, code, how)
    assert (exchange.status, exchange.content["ename"]) == ("error", "KeyboardInterrupt")
    assert_alive(kernel)
    assert kernel.execute_ok("import asyncio; await asyncio.sleep(0); print('loop')").stdout == "loop\n"


@how
def test_an_interrupt_ends_a_shell_command_and_its_process(kernel, how):
    """IPython reports the cell as done; what counts is that it ends, with its child."""
    cell = kernel.start("!echo $$; exec sleep 987")
    kernel.wait_for_stream(cell, "\n")
    pid = int(kernel.printed(cell))
    interrupt(kernel, how)
    kernel.collect(cell)
    deadline = time.monotonic() + 30
    while pid in kernel.processes():
        assert time.monotonic() < deadline, "the command goes on"
        time.sleep(0.05)


@ours
@how
def test_an_interrupted_shell_command_is_an_interrupted_cell(kernel, how):
    """IPython reports it as done (its issue 13161)."""
    exchange = run_and_interrupt(kernel, f"{RUNNING}\n!sleep 987", how)
    assert (exchange.status, exchange.content["ename"]) == ("error", "KeyboardInterrupt")


# Calls of C of a few seconds that look at no signal.
LONG = {
    "without the GIL": "hashlib.pbkdf2_hmac('sha512', b'p', b's', 2_000_000)",
    "with the GIL": "sum(range(10**8))",
}
long = pytest.mark.parametrize("call", LONG.values(), ids=LONG)


def start_long(kernel, call):
    """A cell that is inside the call."""
    cell = kernel.start(f"import hashlib, time\n{RUNNING}\ntime.sleep(0.2)\n{call}")
    kernel.wait_for_stream(cell, "running\n")
    kernel.pump_for(0.5)
    return cell


@ours
@long
def test_an_interrupt_of_a_long_call_of_c_is_answered_at_once_and_works_after_it(kernel, call):
    cell = start_long(kernel, call)
    begun = time.monotonic()
    kernel.interrupt_by_message()
    assert time.monotonic() - begun < 0.5
    exchange = kernel.collect(cell)
    assert (exchange.content["ename"], exchange.stderr) == ("KeyboardInterrupt", "")
    assert_alive(kernel)


@ours
@long
def test_a_second_interrupt_says_what_is_waited_for_and_what_can_be_done(kernel, call):
    cell = start_long(kernel, call)
    kernel.interrupt_by_message()
    kernel.interrupt_by_message()
    exchange = kernel.collect(cell)
    assert exchange.content["ename"] == "KeyboardInterrupt"
    assert "Interrupted twice" in exchange.stderr and "restart the kernel" in exchange.stderr
    assert (f"line 4: {call}" in exchange.stderr) == (call == LONG["without the GIL"])
    assert_alive(kernel)


@ours
def test_a_cell_that_catches_two_interrupts_is_told_of_and_goes_on(kernel):
    code = "import time\nfor _ in range(2):\n    try:\n        print('running', flush=True); time.sleep(1000)\n    except KeyboardInterrupt: pass\ntime.sleep(1)\nprint('end')"
    cell = kernel.start(code)
    for times in (1, 2):
        kernel.wait_for_stream(cell, "running\n" * times)
        kernel.pump_for(0.1)
        kernel.interrupt_by_message()
    exchange = kernel.collect(cell)
    assert (exchange.status, exchange.stdout) == ("ok", "running\nrunning\nend\n")
    assert "Interrupted twice" in exchange.stderr  # where it is then is a matter of microseconds


def test_a_cell_may_handle_its_interrupt(kernel):
    code = (
        f"import time\ntry:\n    {RUNNING}\n    time.sleep(1000)\nexcept KeyboardInterrupt: print('handled')"
    )
    exchange = run_and_interrupt(kernel, code, "message")
    assert (exchange.status, exchange.stdout) == ("ok", "running\nhandled\n")


def test_finally_blocks_run(kernel):
    code = f"import time\ntry:\n    {RUNNING}\n    time.sleep(1000)\nfinally: cleaned = True"
    assert run_and_interrupt(kernel, code, "message").status == "error"
    assert kernel.evaluate("cleaned") is True


@how
def test_cells_queued_behind_an_interrupted_one_are_aborted(kernel, how):
    cell = kernel.start(f"{RUNNING}\nimport time; time.sleep(1000)")
    behind = [kernel.start(f"print({number})") for number in range(3)]
    kernel.wait_for_stream(cell, "running\n")
    interrupt(kernel, how)
    assert kernel.collect(cell).status == "error"
    assert [kernel.collect(other).status for other in behind] == ["aborted"] * 3
    assert_alive(kernel)


@how
def test_cells_queued_without_stop_on_error_run(kernel, how):
    cell = kernel.start(f"{RUNNING}\nimport time; time.sleep(1000)", stop_on_error=False)
    behind = [kernel.start(f"print({number})") for number in range(3)]
    kernel.wait_for_stream(cell, "running\n")
    interrupt(kernel, how)
    assert kernel.collect(cell).status == "error"
    assert [kernel.collect(other).stdout for other in behind] == ["0\n", "1\n", "2\n"]


def test_an_interrupt_by_message_of_an_idle_kernel_is_harmless(kernel):
    for _ in range(20):
        kernel.interrupt_by_message()
    assert_alive(kernel)


def test_an_interrupt_by_signal_of_an_idle_kernel_is_harmless(kernel):
    for _ in range(20):
        kernel.interrupt_by_signal()
    assert_alive(kernel)


@ours
@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(1000)"])
def test_an_interrupt_shows_the_line_of_the_person_and_none_of_the_kernels_own(kernel, code):
    coloured = "\n".join(run_and_interrupt(kernel, code, "message").content["traceback"])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert f"----> 2 {code}" in shown
    assert "rust-hygiene" not in shown


FLOOD = "n = 0\nwhile True:\n    print(n)\n    n += 1"


def assert_counted(text):
    """Only numbered lines, none missing, none twice; the interrupt may have cut the last one."""
    numbers = text.split("\n")
    assert numbers[:-1] == [str(n) for n in range(len(numbers) - 1)], text[:3000]
    assert str(len(numbers) - 1).startswith(numbers[-1])


def test_fifty_interrupts_at_random_moments_of_a_flood_keep_the_channel_whole(start_kernel):
    """Its own kernel: ipykernel's IOPub thread may need 30 s to end after this."""
    kernel = start_kernel()
    chance = random.Random(20)
    for _ in range(50):
        cell = kernel.start(FLOOD)
        kernel.wait_for_stream(cell, "0\n")
        kernel.pump_for(chance.uniform(0, 0.03))
        kernel.interrupt_by_message()
        exchange = kernel.collect(cell)
        assert exchange.content["ename"] == "KeyboardInterrupt"
        assert_counted(exchange.stdout)
    assert_alive(kernel)
    if KERNEL == "python3":
        kernel.kill()


@ours
def test_interrupts_around_the_end_of_a_cell_leave_no_request_unanswered(kernel):
    """ipykernel loses the reply when the interrupt falls between the code and the reply."""
    chance = random.Random(21)
    for number in range(100):
        cell = kernel.start(f"for n in range(2000): print(n)\n{number}", stop_on_error=False)
        kernel.pump_for(chance.uniform(0, 0.02))
        request = kernel.send("control", "interrupt_request")
        exchange = kernel.collect(cell)
        assert exchange.status == "ok" or exchange.content["ename"] == "KeyboardInterrupt"
        assert kernel.collect(request).content == {"status": "ok"}
        assert exchange.stderr == ""
        assert_counted(exchange.stdout)
    assert_alive(kernel)


FINALISERS = """
class Thing:
    def __del__(self):
        for _ in range(100): pass
while True:
    Thing()
    for _ in range(100): pass
"""
WEAK_REFERENCES = """
import weakref
class Thing: pass
seen, by_name = weakref.WeakSet(), weakref.WeakValueDictionary()
while True:
    thing = by_name["thing"] = Thing()
    seen.add(thing)
"""


@ours
@pytest.mark.parametrize("code", [FINALISERS, WEAK_REFERENCES], ids=["finaliser", "weak references"])
def test_an_interrupt_that_finds_a_finaliser_ends_the_cell_all_the_same(kernel, code):
    """Python would print it and go on."""
    for _ in range(10):
        exchange = run_and_interrupt(kernel, code, "message")
        assert (exchange.content["ename"], exchange.stderr) == ("KeyboardInterrupt", "")


EACH_STEP = """
import signal, sys, time
ended = last = 0
def trace(frame, event, arg):
    global steps
    frame.f_trace_opcodes = True
    steps += 1  # Python 3.12 may tell lines alone
    if steps == wanted:
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)
    return trace
def interrupt_at(step):
    global steps, wanted, ended
    steps, wanted = 0, step
    try:
        sys.settrace(trace)
        display([step])
        sys.settrace(None)
        if steps >= wanted: time.sleep(0.5)
    except KeyboardInterrupt:
        ended += 1
    return steps >= wanted
display([0])
while interrupt_at(5 * last + 1): last += 1
last, ended, steps
"""


@ours
def test_an_interrupt_at_any_step_of_a_display_ends_it_and_is_not_taken_for_another_error(kernel):
    """IPython's printer fails if it is left half done, and shows that instead."""
    exchange = kernel.execute_ok(EACH_STEP)
    last, ended, _ = eval(exchange.result)
    assert (ended, exchange.of("error"), exchange.stderr) == (last, [], "")
    assert last > 60


@ours
def test_an_interrupt_of_an_idle_kernel_does_not_hit_the_next_cell(kernel):
    for number in range(100):
        kernel.interrupt_by_message()
        assert kernel.execute_ok(f"print({number})").stdout == f"{number}\n"


@ours
@pytest.mark.parametrize("shell", ["main", "subshell"])
def test_an_error_that_takes_long_to_show_is_interrupted_after_an_await_too(start_kernel, shell):
    """An await is cancelled, but not where what awaits is blocked."""
    kernel = start_kernel()
    where = on(create(kernel)) if shell == "subshell" else {}
    cell = kernel.start(
        "import asyncio\n"
        "class Slow(Exception):\n"
        "    shown = False\n"
        "    def __str__(self):\n"
        "        while not Slow.shown:\n"
        "            try:\n"
        "                print('showing', flush=True)\n"
        "                while True: pass\n"
        "            finally: Slow.shown = True\n"
        "        return 'slow'\n"
        "await asyncio.sleep(0)\n"
        "raise Slow",
        **where,
    )
    kernel.wait_for_stream(cell, "showing\n")
    kernel.interrupt_by_message()
    assert kernel.collect(cell, timeout=10).status == "error"
    assert kernel.execute_ok("1 + 1", **where).result == "2"


ENDLESS = """
import asyncio
class Endless(Exception):
    def %s(self):
        print('running', flush=True)
        while True: pass
    %s
"""
AS_STR, AS_REPR = ("__str__", ""), ("__repr__", "__str__ = __repr__")


def start_endless(kernel, text, awaits, **where):
    kernel.execute_ok(ENDLESS % text, **where)
    cell = kernel.start(f"{awaits}raise Endless", **where)
    kernel.wait_for_stream(cell, "running\n")
    return cell


both = pytest.mark.parametrize("awaits", ["", "await asyncio.sleep(0)\n"], ids=["blocking", "awaiting"])


@ours
@both
@pytest.mark.parametrize("text", [AS_STR, AS_REPR], ids=["str", "repr"])
def test_one_interrupt_ends_an_error_whose_text_never_ends(kernel, awaits, text):
    """ipykernel needs three, and never answers the cell if it awaited."""
    cell = start_endless(kernel, text, awaits)
    kernel.interrupt_by_message()
    exchange = kernel.collect(cell)
    # IPython 8 drops what the text raises, and shows the error without one.
    is_old = int(kernel.evaluate("__import__('IPython').version_info[0]")) < 9
    name, text = exchange.content["ename"], exchange.content["evalue"]
    assert exchange.status == "error"
    assert name == ("Endless" if is_old else "KeyboardInterrupt") and "Endless" in text
    assert [error.content["ename"] for error in exchange.of("error")] == [name]
    assert_alive(kernel)


@ours
@both
def test_interrupts_end_an_error_whose_text_never_ends_in_a_subshell(start_kernel, awaits):
    kernel = start_kernel()
    where = on(create(kernel))
    cell = start_endless(kernel, AS_STR, awaits, **where)
    deadline = time.monotonic() + 60
    while not any(cell.is_parent_of(message) for message in kernel.unread["shell"]):
        assert time.monotonic() < deadline, kernel.situation()
        kernel.interrupt_by_message()
        kernel.pump_for(0.5)
    assert kernel.collect(cell).status == "error"
    assert kernel.execute_ok("1 + 1", **where).result == "2"


ASKED_AGAIN = """
import asyncio, sys
class AskedAgain(Exception):
    def __str__(self):
        frame = sys._getframe()
        while frame.f_code.co_name != 'showtraceback':
            frame = frame.f_back
            while frame is None: pass
        return 'shown'
"""


@ours
@both
def test_the_text_of_an_error_that_was_shown_is_not_asked_for_again(kernel, awaits):
    """ipykernel asks again for the reply, and hangs."""
    kernel.execute_ok(ASKED_AGAIN)
    exchange = kernel.execute(f"{awaits}raise AskedAgain")
    assert (exchange.content["ename"], exchange.content["evalue"]) == ("AskedAgain", "shown")
    assert_alive(kernel)
