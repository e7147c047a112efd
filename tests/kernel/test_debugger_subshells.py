"""The debugger and subshells together: a cell of either may stand at a breakpoint while the other works, and be let go on, interrupted or
left by the debugger.
"""

import pytest

from debug_client import Client, where
from test_subshells import create, delete, on

ours = pytest.mark.ours
pytestmark = ours  # ipykernel's debugger knows the main thread alone

CODE = "a = 1\nb = 2\nc = 3\n'end'"
WORK = "import time\nprint('works', flush=True)\nn = 0\nwhile not finish:\n    n += 1\n    time.sleep(0.001)\n'worked'"


class Both:
    """A debugger and a subshell of one kernel."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.debugger = Client(kernel)
        self.subshell = None

    def begin(self, order):
        for step in order:
            if step == "debugger":
                self.debugger.start()
            else:
                self.subshell = create(self.kernel)
                self.kernel.execute_ok("1", **on(self.subshell))

    def place(self, shell):
        return on(self.subshell) if shell == "subshell" else {}

    def stand(self, shell, code=CODE, line=2):
        """A cell that stands at a breakpoint, and its thread."""
        self.debugger.break_at(self.debugger.dump(code), line)
        cell = self.kernel.start(code, **self.place(shell))
        body = self.debugger.event("stopped")
        assert body["reason"] == "breakpoint", body
        thread = body["threadId"]
        frames = self.debugger.do("stackTrace", threadId=thread)["stackFrames"]
        assert where(frames)[0] == ("<module>", line)
        assert (thread == 1) == (shell == "main")
        assert thread in self.debugger.do("debugInfo")["stoppedThreads"]
        return cell, thread

    def go_on(self, thread):
        self.debugger.do("continue", threadId=thread)

    def work(self, shell):
        """A cell that works until `finish` is set."""
        self.kernel.execute_ok("finish = False")
        cell = self.kernel.start(WORK, **self.place(shell))
        self.kernel.wait_for_stream(cell, "works\n")
        return cell

    def assert_alive(self):
        """All are answered, nothing stands, and a breakpoint stops cells of both shells again."""
        for shell in ("main", "subshell"):
            traced = "def f(): return 41 + 1\nf()"
            assert self.kernel.execute(traced, **self.place(shell)).result == "42"
        assert self.debugger.do("debugInfo")["stoppedThreads"] == []
        for shell in ("main", "subshell"):
            self.debugger.drop_events()
            cell, thread = self.stand(shell)
            self.go_on(thread)
            assert self.kernel.collect(cell).result == "'end'"


ORDERS = [("debugger", "subshell"), ("subshell", "debugger")]
shells = pytest.mark.parametrize("shell", ["main", "subshell"])


@pytest.fixture(params=ORDERS, ids=[f"{first} first" for first, _ in ORDERS])
def both(kernel, request):
    """A debugging session and a subshell, begun in either order."""
    made = Both(kernel)
    made.begin(request.param)
    yield made
    made.debugger.stop()
    delete(kernel, made.subshell)
    kernel.execute_ok("1")
    made.debugger.drop_events()


def other(shell):
    return "main" if shell == "subshell" else "subshell"


@shells
def test_a_cell_stands_at_a_breakpoint_and_goes_on(both, shell):
    cell, thread = both.stand(shell)
    both.go_on(thread)
    assert both.kernel.collect(cell).result == "'end'"
    both.assert_alive()


@shells
def test_an_expression_is_evaluated_where_a_cell_stands(both, shell):
    cell, thread = both.stand(shell)
    frame = both.debugger.do("stackTrace", threadId=thread)["stackFrames"][0]
    assert both.debugger.evaluate("a + 41", frame) == "42"
    both.debugger.do("next", threadId=thread)
    assert both.debugger.event("stopped")["threadId"] == thread
    both.go_on(thread)
    assert both.kernel.collect(cell).result == "'end'"


@shells
def test_a_cell_stands_while_the_other_shell_works(both, shell):
    working = both.work(other(shell))
    cell, thread = both.stand(shell)
    both.go_on(thread)
    assert both.kernel.collect(cell).result == "'end'"
    both.kernel.execute_ok("finish = True", **both.place(shell))
    assert both.kernel.collect(working).result == "'worked'"
    both.assert_alive()


@shells
def test_an_interrupt_ends_a_cell_that_stands(both, shell):
    cell, _ = both.stand(shell)
    both.kernel.interrupt_by_message()
    assert both.kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    both.assert_alive()


def test_interrupts_end_a_subshells_cells_that_stand_one_after_the_other(both):
    for _ in range(5):
        cell, _ = both.stand("subshell", "i = 0\nwhile True:\n    i += 1\n", 3)
        both.kernel.interrupt_by_message()
        assert both.kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
        both.debugger.drop_events()
    both.assert_alive()


def test_an_interrupt_ends_a_subshells_evaluation(both):
    cell, thread = both.stand("subshell")
    frame = both.debugger.do("stackTrace", threadId=thread)["stackFrames"][0]
    loop = "print('turning', flush=True) or [i for i in iter(int, 1)]"
    request = both.debugger.send("evaluate", expression=loop, frameId=frame["id"], context="repl")
    both.kernel.wait_for_stream(cell, "turning\n")
    both.kernel.interrupt_by_message()
    assert both.debugger.collect(request)["success"] is False
    both.go_on(thread)
    assert both.kernel.collect(cell).result == "'end'"
    both.assert_alive()


def test_an_interrupt_of_a_cell_that_stands_lets_the_subshell_go_on(both):
    working = both.work("subshell")
    cell, _ = both.stand("main")
    both.kernel.interrupt_by_message()
    assert both.kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    both.kernel.execute_ok("finish = True")
    assert both.kernel.collect(working).result == "'worked'"
    both.assert_alive()


def test_an_interrupt_of_the_main_shell_while_a_subshell_stands_leaves_nobody_behind(both):
    """It is the main shell's cell that is interrupted; it had to stand too."""
    working = both.work("main")
    cell, _ = both.stand("subshell")
    both.kernel.interrupt_by_message()
    assert both.kernel.collect(working).content["ename"] == "KeyboardInterrupt"
    assert both.kernel.collect(cell).result == "'end'"
    both.assert_alive()


def test_an_interrupt_reaches_the_cell_of_a_subshell_though_the_main_shell_answers_a_request(both):
    both.kernel.execute_ok(
        "import time\nclass Slow:\n    def __dir__(self):\n        time.sleep(1); return []\nslow = Slow()"
    )
    cell = both.kernel.start("print('up', flush=True)\nwhile True: pass", **on(both.subshell))
    both.kernel.wait_for_stream(cell, "up\n")
    asked = both.kernel.send("shell", "complete_request", {"code": "slow.", "cursor_pos": 5})
    both.kernel.pump_for(0.5)
    both.kernel.interrupt_by_message()
    assert both.kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    both.kernel.collect(asked)
    both.assert_alive()


@shells
def test_the_end_of_a_session_lets_a_cell_go_on(both, shell):
    working = both.work(other(shell))
    cell, _ = both.stand(shell)
    both.debugger.stop()
    assert both.kernel.collect(cell).result == "'end'"
    both.kernel.execute_ok("finish = True", **both.place(shell))
    assert both.kernel.collect(working).result == "'worked'"
    both.debugger.drop_events()
    both.debugger.start()
    both.assert_alive()


@shells
def test_a_session_ends_after_an_interrupt_and_another_begins(both, shell):
    cell, _ = both.stand(shell)
    both.kernel.interrupt_by_message()
    assert both.kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    both.debugger.stop()
    both.debugger.drop_events()
    both.debugger.start()
    both.assert_alive()


def test_a_subshell_is_created_while_a_cell_stands(both):
    cell, thread = both.stand("main")
    late = create(both.kernel)
    both.go_on(thread)
    assert both.kernel.collect(cell).result == "'end'"
    assert both.kernel.execute("6 * 7", **on(late)).result == "42"
    delete(both.kernel, late)
    both.assert_alive()


def test_a_subshell_that_stands_is_deleted(both):
    cell, thread = both.stand("subshell")
    delete(both.kernel, both.subshell)
    both.go_on(thread)
    assert both.kernel.collect(cell).result == "'end'"
    both.subshell = create(both.kernel)
    both.assert_alive()


def test_a_subshell_that_stands_is_deleted_and_interrupted(both):
    cell, _ = both.stand("subshell")
    delete(both.kernel, both.subshell)
    both.kernel.interrupt_by_message()
    assert both.kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    both.subshell = create(both.kernel)
    both.assert_alive()
