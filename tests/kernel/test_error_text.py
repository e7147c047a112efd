"""An error whose text never ends, or is asked for again, is shown and answered all the same."""

import time

import pytest

from test_interrupt import assert_alive
from test_subshells import create, on

ours = pytest.mark.ours

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
    name, text = exchange.content["ename"], exchange.content["evalue"]
    # The oldest IPython drops what its text raises, and shows the error without one.
    assert (name, "Endless" in text) == ("KeyboardInterrupt", True) or name == "Endless", (name, text)
    assert exchange.status == "error"
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
