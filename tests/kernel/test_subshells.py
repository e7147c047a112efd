"""Subshells (JEP 91): cells and requests that run beside the main shell, each with its own outputs, input and errors."""

import random
import time

import pytest

from message import build, pack

ours = pytest.mark.ours

WAIT = "import threading\ngo = threading.Event()\nprint('waiting', flush=True)\ngo.wait()\nprint('went on')"


def create(kernel):
    content = kernel.request("control", "create_subshell_request").content
    assert content["status"] == "ok"
    return content["subshell_id"]


def delete(kernel, subshell):
    return kernel.request("control", "delete_subshell_request", {"subshell_id": subshell}).content


def living(kernel):
    content = kernel.request("control", "list_subshell_request").content
    assert content["status"] == "ok"
    return content["subshell_id"]


def on(subshell):
    return {"header": {"subshell_id": subshell}}


@pytest.fixture
def subshell(kernel):
    """A subshell of the module's kernel."""
    made = create(kernel)
    yield made
    if made in living(kernel):
        assert delete(kernel, made) == {"status": "ok"}


# --- creation, list, deletion


def test_the_kernel_says_that_it_has_subshells(kernel):
    assert "kernel subshells" in kernel.request("shell", "kernel_info_request").content["supported_features"]


def test_subshells_are_created_listed_and_deleted(kernel):
    assert living(kernel) == []
    first, second = create(kernel), create(kernel)
    assert first != second
    assert living(kernel) == [first, second]
    assert delete(kernel, first) == {"status": "ok"}
    assert living(kernel) == [second]
    assert delete(kernel, second) == {"status": "ok"}
    assert living(kernel) == []


def test_deleting_what_is_not_there_is_an_error(kernel, subshell):
    for wrong in ("nobody", ""):
        content = delete(kernel, wrong)
        assert (content["status"], content["evalue"]) == ("error", f"Unknown subshell_id '{wrong}'")
    assert living(kernel) == [subshell]


@ours
@pytest.mark.parametrize("content", [{}, {"subshell_id": 5}, {"subshell_id": None}])
def test_a_deletion_that_names_nobody_is_answered(kernel, content):
    """ipykernel does not answer."""
    assert kernel.request("control", "delete_subshell_request", content).status == "error"


UNKNOWN = {
    "execute_request": {"code": "1", "silent": False, "store_history": True, "user_expressions": {}},
    "complete_request": {"code": "pri", "cursor_pos": 3},
}


@pytest.mark.parametrize(("kind", "content"), UNKNOWN.items(), ids=UNKNOWN)
def test_a_request_to_an_unknown_subshell_is_an_error(kernel, kind, content):
    exchange = kernel.request("shell", kind, content, **on("nobody"))
    assert exchange.status == "error"
    assert exchange.content["ename"] == "UnknownSubshellError"
    assert exchange.content["evalue"] == "Unknown subshell_id 'nobody'"
    assert exchange.outputs == []


def test_a_deleted_subshell_is_unknown(kernel):
    gone = create(kernel)
    assert kernel.execute("1 + 1", **on(gone)).result == "2"
    delete(kernel, gone)
    assert kernel.execute("1 + 1", **on(gone)).content["ename"] == "UnknownSubshellError"


# --- running


def test_a_subshell_shares_the_namespace(kernel, subshell):
    kernel.execute_ok("x = 1")
    kernel.execute_ok("x += 1; y = 5", **on(subshell))
    assert kernel.evaluate("(x, y)") == (2, 5)


def test_a_subshell_runs_while_the_main_shell_is_busy(kernel, subshell):
    main = kernel.start(WAIT)
    kernel.wait_for_stream(main, "waiting\n")
    beside = kernel.execute_ok("print('beside'); display('shown'); 6 * 7", **on(subshell))
    assert (beside.stdout, beside.result) == ("beside\n", "42")
    assert beside.outputs == ["stdout", "display_data", "execute_result"]
    kernel.execute_ok("go.set()", **on(subshell))
    assert kernel.collect(main).stdout == "waiting\nwent on\n"


def test_a_subshell_may_be_created_while_the_main_shell_is_busy(kernel):
    main = kernel.start(WAIT)
    kernel.wait_for_stream(main, "waiting\n")
    late = create(kernel)
    kernel.execute_ok("go.set()", **on(late))
    assert kernel.collect(main).status == "ok"
    delete(kernel, late)


def test_the_main_shell_runs_while_a_subshell_is_busy(kernel, subshell):
    beside = kernel.start(WAIT, **on(subshell))
    kernel.wait_for_stream(beside, "waiting\n")
    assert kernel.execute_ok("print('main')").stdout == "main\n"
    kernel.execute_ok("go.set()")
    assert kernel.collect(beside).stdout == "waiting\nwent on\n"


@ours
def test_two_subshells_wait_for_each_other(kernel, subshell):
    """ipykernel mixes the results of cells that end together."""
    other = create(kernel)
    kernel.execute_ok("import threading; barrier = threading.Barrier(3)")
    cells = [kernel.start("n = barrier.wait(30) >= 0; n", **where) for where in (on(subshell), on(other), {})]
    assert [kernel.collect(cell).result for cell in cells] == ["True"] * 3
    delete(kernel, other)


def test_cells_of_one_subshell_run_in_order(kernel, subshell):
    kernel.execute_ok("order = []")
    cells = [kernel.start(f"order.append({n}); print({n})", **on(subshell)) for n in range(50)]
    assert [kernel.collect(cell).stdout for cell in cells] == [f"{n}\n" for n in range(50)]
    assert kernel.evaluate("order") == list(range(50))


@ours
def test_cells_that_run_at_once_have_numbers_of_their_own(kernel, subshell):
    """In ipykernel they have the same, and the history file takes one of them only."""
    main = kernel.start(WAIT + "\n'main'")
    kernel.wait_for_stream(main, "waiting\n")
    cells = [
        kernel.execute_ok("'beside'", **on(subshell)),
        kernel.execute_ok("go.set(); 'last'", **on(subshell)),
    ]
    cells.append(kernel.collect(main))
    cells.append(kernel.execute_ok("'after'"))
    numbers = [cell.content["execution_count"] for cell in cells]
    assert numbers == [numbers[2] + 1, numbers[2] + 2, numbers[2], numbers[2] + 3]
    for cell, number in zip(cells, numbers, strict=True):
        (given,), (result,) = cell.of("execute_input"), cell.of("execute_result")
        assert given.content["execution_count"] == result.content["execution_count"] == number
    assert kernel.evaluate(f"[Out[n] for n in {numbers}]") == ["beside", "last", "main", "after"]


FLOOD = "for {who} in range(3000):\n    print('{who}', {who})\n    if {who} % 100 == 0: display(f'{who} {{{who}}}')"


def test_what_is_printed_at_once_goes_to_each_its_own_cell(kernel, subshell):
    other = create(kernel)
    where = {"main": {}, "sub": on(subshell), "other": on(other)}
    cells = {who: kernel.start(FLOOD.format(who=who), **place) for who, place in where.items()}
    for who, cell in cells.items():
        exchange = kernel.collect(cell)
        assert exchange.stdout == "".join(f"{who} {i}\n" for i in range(3000))
        shown = [m.content["data"]["text/plain"] for m in exchange.of("display_data")]
        assert shown == [f"'{who} {i}'" for i in range(0, 3000, 100)]
    delete(kernel, other)


@ours
def test_text_and_displays_of_a_subshell_keep_their_order(kernel, subshell):
    code = "import sys\nfor i in range(20):\n    print(i)\n    display(i)\n    print(i, file=sys.stderr)"
    exchange = kernel.execute_ok(code, **on(subshell))
    assert exchange.outputs == ["stdout", "display_data", "stderr"] * 20


def test_an_error_of_a_subshell_is_its_own(kernel, subshell):
    main = kernel.start(WAIT)
    kernel.wait_for_stream(main, "waiting\n")
    failed = kernel.execute("1 / 0", **on(subshell))
    assert (failed.status, failed.content["ename"]) == ("error", "ZeroDivisionError")
    assert failed.outputs == ["error"]
    kernel.execute_ok("go.set()", **on(subshell))
    exchange = kernel.collect(main)
    assert (exchange.status, exchange.outputs) == ("ok", ["stdout"])


def test_an_error_aborts_what_waits_in_its_own_subshell_only(kernel, subshell):
    other = create(kernel)
    kernel.execute_ok("import threading; go = threading.Event()")
    bad = kernel.start("go.wait(); 1 / 0", **on(subshell))
    behind = [kernel.start("print('never')", **on(subshell)) for _ in range(3)]
    beside = kernel.start("print('beside')", **on(other))
    assert kernel.collect(beside).stdout == "beside\n"
    kernel.execute_ok("go.set()")
    assert kernel.collect(bad).status == "error"
    assert [kernel.collect(cell).status for cell in behind] == ["aborted"] * 3
    assert kernel.execute_ok("print('after')", **on(subshell)).stdout == "after\n"
    delete(kernel, other)


def test_awaits_of_main_shell_and_subshell_run_at_once(kernel, subshell):
    code = "import asyncio\nfor {who} in range(5):\n    print('{who}', {who})\n    await asyncio.sleep(0.02)"
    main, beside = kernel.start(code.format(who="main")), kernel.start(code.format(who="sub"), **on(subshell))
    assert kernel.collect(main).stdout == "".join(f"main {i}\n" for i in range(5))
    assert kernel.collect(beside).stdout == "".join(f"sub {i}\n" for i in range(5))


@pytest.mark.parametrize("attempt", range(3))
def test_all_may_be_the_first_to_use_asyncio(start_kernel, attempt):
    kernel = start_kernel()
    where = [{}, *(on(create(kernel)) for _ in range(3))]
    code = "await __import__('asyncio').sleep(0.01); print('done')"
    cells = [kernel.start(code, **place) for place in where]
    assert [kernel.collect(cell).stdout for cell in cells] == ["done\n"] * 4


def test_a_loop_runs_in_every_cell_of_a_subshell(kernel, subshell):
    kernel.execute_ok("import asyncio; loop = asyncio.get_running_loop()", **on(subshell))
    assert kernel.execute("asyncio.get_running_loop() is loop", **on(subshell)).result == "True"
    assert kernel.execute("asyncio.get_running_loop() is loop").result == "False"


def test_a_task_of_a_subshell_prints_into_the_cell_that_made_it(kernel, subshell):
    code = "import asyncio\nasync def later():\n    await asyncio.sleep(0.2)\n    print('later')\ntask = asyncio.create_task(later())"
    first = kernel.execute_ok(code, **on(subshell))
    kernel.execute_ok("import time; print('other')")
    heard = kernel.take("iopub", first.request.is_parent_of, "text of the task")
    assert heard.content["text"] == "later\n"


def test_a_context_variable_lasts_from_cell_to_cell_of_a_subshell(kernel, subshell):
    kernel.execute_ok("import contextvars; v = contextvars.ContextVar('v', default=0)")
    kernel.execute_ok("v.set(5)\nNone", **on(subshell))
    assert kernel.execute("v.get()", **on(subshell)).result == "5"
    assert kernel.execute("v.get()").result == "0"


# --- input


def test_a_subshell_asks_and_is_answered(kernel, subshell):
    cell = kernel.start("print('Hello', input('Name? '))", allow_stdin=True, **on(subshell))
    question = kernel.recv_stdin_request()
    assert question.parent_header == cell.header
    kernel.answer_input("Ada")
    assert kernel.collect(cell).stdout == "Hello Ada\n"


@ours
def test_questions_of_main_shell_and_subshell_get_each_their_answer(kernel, subshell):
    """ipykernel reads both answers from one socket with two threads."""
    main = kernel.start("print('main got', input('main? '))", allow_stdin=True)
    of_main = kernel.recv_stdin_request()
    beside = kernel.start("print('sub got', input('sub? '))", allow_stdin=True, **on(subshell))
    of_sub = kernel.recv_stdin_request()
    for question, value in ((of_main, "one"), (of_sub, "two")):
        reply = build(
            "stdin", "input_reply", {"value": value}, session=kernel.session, parent=question.header
        )
        kernel.sockets["stdin"].send_multipart(pack(reply, kernel.key))
    assert kernel.collect(main).stdout == "main got one\n"
    assert kernel.collect(beside).stdout == "sub got two\n"


def test_input_of_a_subshell_is_refused_if_the_client_has_none(kernel, subshell):
    refused = kernel.execute("input()", allow_stdin=False, **on(subshell))
    assert refused.content["ename"] == "StdinNotImplementedError"


# --- other requests


REQUESTS = {
    "complete_request": {"code": "busy_nam", "cursor_pos": 8},
    "inspect_request": {"code": "len", "cursor_pos": 3, "detail_level": 0},
    "is_complete_request": {"code": "for i in x:"},
    "history_request": {"hist_access_type": "tail", "n": 3, "output": False, "raw": True},
    "comm_info_request": {},
    "kernel_info_request": {},
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_subshell_answers_while_the_main_shell_is_busy(kernel, subshell, kind):
    kernel.execute_ok("busy_name = 1")
    main = kernel.start(WAIT)
    kernel.wait_for_stream(main, "waiting\n")
    exchange = kernel.request("shell", kind, REQUESTS[kind], **on(subshell))
    assert exchange.content["status"] == ("incomplete" if kind == "is_complete_request" else "ok")
    if kind == "complete_request":
        assert exchange.content["matches"] == ["busy_name"]
    kernel.execute_ok("go.set()", **on(subshell))
    assert kernel.collect(main).status == "ok"


COMM = """
import threading
threads = []
def target(comm, message):
    @comm.on_msg
    def got(message):
        threads.append(threading.current_thread().name)
        print('got', message['content']['data'])
        comm.send({'echo': message['content']['data']}, buffers=[b'x' * 10])
get_ipython().kernel.comm_manager.register_target('t', target)
"""


def test_comm_messages_go_through_a_subshell_while_the_main_shell_is_busy(kernel, subshell):
    kernel.execute_ok(COMM)
    main = kernel.start(WAIT)
    kernel.wait_for_stream(main, "waiting\n")
    opened = {"comm_id": f"c {subshell}", "target_name": "t", "data": {}}
    kernel.take_until_idle(kernel.send("shell", "comm_open", opened, **on(subshell)))
    for n in range(5):
        content = {"comm_id": opened["comm_id"], "data": {"n": n}}
        said = kernel.take_until_idle(kernel.send("shell", "comm_msg", content, **on(subshell)))
        (echo,) = [m for m in said if m.type == "comm_msg"]
        assert (echo.content["data"], echo.buffers) == ({"echo": {"n": n}}, [b"x" * 10])
        assert "".join(m.content["text"] for m in said if m.type == "stream") == f"got {{'n': {n}}}\n"
    kernel.execute_ok("go.set()", **on(subshell))
    assert kernel.collect(main).stdout == "waiting\nwent on\n"
    assert kernel.evaluate("threads") == [f"subshell-{subshell}"] * 5


OWN = """
from comm import create_comm
import threading
c = create_comm('mine')
heard = []
c.on_msg(lambda message: (print('heard'), heard.append(threading.current_thread().name)))
"""


def test_an_answer_goes_to_the_shell_that_used_the_comm_last(kernel, subshell):
    """Whatever subshell the front end names: code there may wait for it in its own loop."""
    (opened,) = kernel.execute_ok(OWN).of("comm_open")
    content = {"comm_id": opened.content["comm_id"], "data": {}}
    said = kernel.take_until_idle(kernel.send("shell", "comm_msg", content, **on(subshell)))
    assert [m.content["text"] for m in said if m.type == "stream"] == ["heard\n"]
    kernel.execute_ok("c.send({})", **on(subshell))
    kernel.take_until_idle(kernel.send("shell", "comm_msg", content))
    assert kernel.evaluate("heard") == ["MainThread", f"subshell-{subshell}"]
    kernel.unread["iopub"].clear()


def test_an_await_gets_the_answer_of_its_comm_though_a_subshell_is_named(kernel, subshell):
    code = """
import asyncio
from comm import create_comm
c = create_comm('asked')
answer = asyncio.get_running_loop().create_future()
c.on_msg(lambda message: answer.set_result(message['content']['data']))
print('asked', flush=True)
print(await answer)
"""
    cell = kernel.start(code)
    kernel.wait_for_stream(cell, "asked\n")
    (opened,) = [m for m in kernel.unread["iopub"] if m.type == "comm_open"]
    content = {"comm_id": opened.content["comm_id"], "data": {"n": 1}}
    request = kernel.send("shell", "comm_msg", content, **on(subshell))
    assert kernel.collect(cell).stdout == "asked\n{'n': 1}\n"
    kernel.pump_for(0.2)
    kernel.unread["iopub"] = [m for m in kernel.unread["iopub"] if not m.answers(request)]


def test_a_large_buffer_goes_through_a_subshell(kernel, subshell):
    code = "from comm import create_comm\nc = create_comm('big')\nsizes = []\nc.on_msg(lambda m: sizes.append(len(m['buffers'][0])))"
    (opened,) = kernel.execute_ok(code).of("comm_open")
    content = {"comm_id": opened.content["comm_id"], "data": {}}
    request = kernel.send("shell", "comm_msg", content, buffers=[b"b" * 20_000_000], **on(subshell))
    kernel.take_until_idle(request)
    assert kernel.evaluate("sizes") == [20_000_000]


def test_the_magic_names_the_subshells(kernel, subshell):
    said = dict(
        line.split(": ", 1) for line in kernel.execute_ok("%subshell", **on(subshell)).stdout.splitlines()
    )
    assert said["subshell id"] == subshell
    assert said["subshell list"] == repr([subshell])
    assert said["thread id"] != said["main thread id"]
    of_main = dict(line.split(": ", 1) for line in kernel.execute_ok("%subshell").stdout.splitlines())
    assert of_main["subshell id"] == "None"
    assert of_main["thread id"] == of_main["main thread id"] == said["main thread id"]
    assert set(of_main) == {
        "subshell id",
        "thread id",
        "main thread id",
        "pid",
        "thread count",
        "subshell list",
    }


def test_the_thread_of_a_subshell_has_its_name_and_ends_with_it(kernel):
    gone = create(kernel)
    named = kernel.execute_ok("import threading; t = threading.current_thread(); t.name", **on(gone)).result
    assert named == repr(f"subshell-{gone}")
    delete(kernel, gone)
    assert kernel.evaluate("t.is_alive() or t in threading.enumerate()") is False


def test_a_subshell_that_cannot_end_keeps_nobody_waiting(kernel):
    busy = create(kernel)
    kernel.execute_ok(
        "import asyncio, time; asyncio.get_running_loop().call_later(0, time.sleep, 20)", **on(busy)
    )
    began = time.monotonic()
    delete(kernel, busy)
    assert time.monotonic() - began < 10


# --- interrupts


def test_an_interrupt_ends_the_cell_of_the_main_shell_and_leaves_subshells_alone(kernel, subshell):
    beside = kernel.start(WAIT, **on(subshell))
    kernel.wait_for_stream(beside, "waiting\n")
    main = kernel.start("print('main', flush=True)\nimport time; time.sleep(1000)")
    kernel.wait_for_stream(main, "main\n")
    kernel.interrupt_by_message()
    assert kernel.collect(main).content["ename"] == "KeyboardInterrupt"
    kernel.execute_ok("go.set()")
    assert kernel.collect(beside).stdout == "waiting\nwent on\n"


BUSY = {
    "a pure loop": "while True: pass",
    "short sleeps": "import time\nwhile True: time.sleep(0.01)",
    "an endless print": "while True: print('more')",
    "an await": "import asyncio; await asyncio.sleep(1000)",
    "a question": "input()",
}


@ours
@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
def test_an_interrupt_ends_the_cell_of_a_subshell_if_the_main_shell_is_idle(kernel, subshell, code):
    """In ipykernel nothing ends it."""
    cell = kernel.start(f"print('running', flush=True)\n{code}", allow_stdin=True, **on(subshell))
    kernel.wait_for_stream(cell, "running\n")
    if "input" in code:
        kernel.recv_stdin_request()
    kernel.pump_for(0.1)
    kernel.interrupt_by_message()
    assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    assert kernel.execute_ok("print('alive')", **on(subshell)).stdout == "alive\n"
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


@ours
def test_interrupts_at_any_moment_of_a_subshells_cells_leave_no_request_unanswered(kernel, subshell):
    chance = random.Random(5)
    for number in range(60):
        cell = kernel.start(f"for n in range(2000): print(n)\n{number}", stop_on_error=False, **on(subshell))
        kernel.pump_for(chance.uniform(0, 0.02))
        kernel.interrupt_by_message()
        exchange = kernel.collect(cell)
        assert exchange.status == "ok" or exchange.content["ename"] == "KeyboardInterrupt"
        numbers = exchange.stdout.split("\n")
        assert numbers[:-1] == [str(n) for n in range(len(numbers) - 1)]
    assert kernel.execute_ok("print('alive')", **on(subshell)).stdout == "alive\n"


# --- ends


@ours
def test_a_busy_subshell_that_is_deleted_answers_what_it_runs_and_refuses_the_rest(kernel):
    """ipykernel blocks until the cell is over and forgets what waits."""
    gone = create(kernel)
    cell = kernel.start(WAIT, **on(gone))
    kernel.wait_for_stream(cell, "waiting\n")
    behind = kernel.start("print('never')", **on(gone))
    kernel.request("control", "kernel_info_request")
    assert delete(kernel, gone) == {"status": "ok"}
    assert living(kernel) == []
    assert kernel.collect(behind).content["ename"] == "UnknownSubshellError"
    kernel.execute_ok("go.set()")
    assert kernel.collect(cell).stdout == "waiting\nwent on\n"


@ours
@pytest.mark.parametrize(
    "code", ["pass", "import time; print('up', flush=True); time.sleep(1000)", "while True: pass"]
)
def test_a_kernel_ends_with_its_subshells(start_kernel, code):
    """ipykernel waits for a busy one."""
    kernel = start_kernel()
    subshell = create(kernel)
    if code == "pass":
        kernel.execute_ok(code, **on(subshell))
    else:
        kernel.send("shell", "execute_request", {"code": code, "silent": True}, **on(subshell))
        kernel.pump_for(0.5)
        kernel.unread["iopub"].clear()
    begun = time.monotonic()
    kernel.shut_down()
    kernel.assert_all_gone()
    assert time.monotonic() - begun < 10
    kernel.kill()


@ours
def test_a_dead_interpreter_answers_for_its_subshells(start_kernel):
    kernel = start_kernel()
    subshell = create(kernel)
    beside = kernel.start("import time; print('up', flush=True); time.sleep(1000)", **on(subshell))
    kernel.wait_for_stream(beside, "up\n")
    assert kernel.execute("import os; os._exit(9)").content["ename"] == "InterpreterDied"
    assert kernel.collect(beside).content["ename"] == "InterpreterDied"
    assert living(kernel) == []
    fresh = create(kernel)
    assert kernel.execute("1 + 1", **on(fresh)).result == "2"


@ours
def test_a_hundred_subshells(start_kernel):
    """ipykernel sends one cell's result for another's."""
    kernel = start_kernel()
    many = [create(kernel) for _ in range(100)]
    cells = [kernel.start(f"{n} * 2", **on(subshell)) for n, subshell in enumerate(many)]
    assert [kernel.collect(cell).result for cell in cells] == [str(2 * n) for n in range(100)]
    for subshell in many:
        delete(kernel, subshell)
    assert living(kernel) == []


@ours
def test_a_kernel_without_subshells_has_no_thread_for_them(start_kernel):
    kernel = start_kernel()
    threads, tasks = kernel.evaluate(
        "([t.name for t in __import__('threading').enumerate()], len(__import__('os').listdir('/proc/self/task')))"
    )
    history = "IPythonHistorySavingThread"  # begins in the first idle moment
    assert tasks - threads.count(history) == 2
    if not kernel.evaluate("'asyncio' in __import__('sys').modules"):
        assert [name for name in threads if name != history] == ["MainThread"]


@ours
def test_the_record_of_a_cell_says_that_it_was_not_alone(kernel, subshell):
    main = kernel.start(WAIT)
    kernel.wait_for_stream(main, "waiting\n")
    beside = kernel.execute_ok("go.set()", **on(subshell))
    assert "rust_hygiene" not in beside.reply.metadata
    notices = kernel.collect(main).reply.metadata["rust_hygiene"]["notices"]
    assert any("subshell" in notice for notice in notices)
    alone = kernel.execute_ok("pass").reply.metadata["rust_hygiene"]
    assert not any("subshell" in notice for notice in alone.get("notices", []))


@ours
def test_after_cells_and_an_interrupt_of_a_subshell_tracing_works(kernel, subshell):
    """A call of CPython that drops an interrupt leaves a mark, with which traced functions hang in Python 3.11."""
    assert kernel.execute("1", **on(subshell)).result == "1"
    cell = kernel.start("print('running', flush=True)\nwhile True: pass", **on(subshell))
    kernel.wait_for_stream(cell, "running\n")
    kernel.interrupt_by_message()
    assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    traced = "import sys\ndef f(): return 3\nsys.settrace(lambda *a: None)\nf()\nsys.settrace(None)\nf()"
    assert kernel.execute(traced).result == "3"
    assert kernel.execute(traced, **on(subshell)).result == "3"


def assert_findings(exchange):
    (shown,) = exchange.of("display_data")
    assert "[hygiene]" in shown.content["data"]["text/plain"]


@ours
def test_leaks_are_asked_for_in_any_shell(kernel, subshell):
    assert_findings(kernel.execute_ok("%hygiene leaks", **on(subshell)))
    assert_findings(kernel.execute_ok("%hygiene leaks"))
    main = kernel.start(WAIT)
    kernel.wait_for_stream(main, "waiting\n")
    assert_findings(kernel.execute_ok("%hygiene leaks", **on(subshell)))
    kernel.execute_ok("go.set()", **on(subshell))
    assert kernel.collect(main).outputs == ["stdout"]


@ours
def test_leaks_are_not_asked_for_in_a_thread(kernel, subshell):
    """It would wait on a line that another thread reads."""
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(1) as pool:\n"
        "    pool.submit(get_ipython().run_line_magic, 'hygiene', 'leaks').result()"
    )
    for where in ({}, on(subshell)):
        assert kernel.execute(code, **where).content["ename"] == "UsageError"


def test_what_a_subshells_shell_command_prints_is_its_own_and_nothing_empty(kernel, subshell):
    exchange = kernel.execute_ok("!echo one; sleep 0.1; echo two\nprint('', end='')", **on(subshell))
    assert exchange.stdout.split() == ["one", "two"]


# --- what is of each shell alone, and what is not


def test_a_thread_sees_the_number_of_the_main_shells_cell(kernel, subshell):
    kernel.execute_ok("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)")
    kernel.execute_ok("1", **on(subshell))
    seen, own = kernel.evaluate(
        "(pool.submit(lambda: get_ipython().execution_count).result(), get_ipython().execution_count)"
    )
    assert seen == own > 1
    kernel.execute_ok("pool.shutdown()")


@ours
def test_what_observes_the_number_of_cells_hears_of_the_main_shells(kernel, subshell):
    """In ipykernel of all, for they count together."""
    kernel.execute_ok(
        "heard = []\nshell = get_ipython()\n"
        "hear = lambda change: heard.append(change.new)\nshell.observe(hear, 'execution_count')"
    )
    before = kernel.evaluate("shell.execution_count")
    kernel.execute_ok("1", **on(subshell))
    kernel.execute_ok("1")
    assert kernel.evaluate("heard")[-1] == kernel.evaluate("shell.execution_count") > before
    kernel.execute_ok("shell.unobserve(hear, 'execution_count')\nheard.clear()")
    kernel.execute_ok("1")
    assert kernel.evaluate("heard") == []
    assert kernel.evaluate("'execution_count' in shell.trait_names()") is True
    assert kernel.evaluate("shell.has_trait('execution_count')") is True


@ours
def test_a_cell_within_a_cell_of_a_subshell_leaves_the_main_shells_input_alone(kernel, subshell):
    main = kernel.start(f"{WAIT}\nprint(input('main? '))", allow_stdin=True)
    kernel.wait_for_stream(main, "waiting\n")
    code = "r = await get_ipython().kernel.do_execute('_x = input(\"inner? \")', False, allow_stdin={allow}); r['status']"
    refused = kernel.execute(code.format(allow=False), allow_stdin=True, **on(subshell))
    assert (
        refused.result == "'error'" and refused.of("error")[0].content["ename"] == "StdinNotImplementedError"
    )
    inner = kernel.start(code.format(allow=True), allow_stdin=False, **on(subshell))
    assert kernel.recv_stdin_request().content["prompt"] == "inner? "
    kernel.answer_input("x")
    assert kernel.collect(inner).result == "'ok'"
    kernel.execute_ok("go.set()", **on(subshell))
    assert kernel.recv_stdin_request().content["prompt"] == "main? "
    kernel.answer_input("y")
    assert kernel.collect(main).stdout == "waiting\nwent on\ny\n"


# --- what goes wrong

NO_DESCRIPTORS = """
import os, resource
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
files = []
try:
    while True: files.append(os.open('/dev/null', os.O_RDONLY))
except OSError: pass
"""
AGAIN = "for f in files: os.close(f)\nresource.setrlimit(resource.RLIMIT_NOFILE, limits)"


@ours
def test_without_file_descriptors_no_subshell_is_created_and_the_kernel_goes_on(start_kernel):
    kernel = start_kernel()
    kernel.request(
        "shell", "history_request", REQUESTS["history_request"]
    )  # what start-up left for later needs files
    kernel.execute_ok(NO_DESCRIPTORS)
    for _ in range(2):
        content = kernel.request("control", "create_subshell_request").content
        assert content["status"] == "error" and "descriptor" in content["evalue"]
        assert living(kernel) == []
    kernel.execute_ok(AGAIN)
    fresh = create(kernel)
    assert kernel.execute("6 * 7", **on(fresh)).result == "42"


@ours
def test_without_threads_no_subshell_is_created_and_the_kernel_goes_on(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("import threading; threading.stack_size(1 << 46);")
    content = kernel.request("control", "create_subshell_request").content
    assert content["status"] == "error" and "thread" in content["evalue"]
    assert living(kernel) == []
    kernel.execute_ok("threading.stack_size(0);")
    fresh = create(kernel)
    assert kernel.execute("6 * 7", **on(fresh)).result == "42"


@ours
def test_a_subshell_whose_line_is_cut_answers_all_that_it_was_asked(kernel):
    gone = create(kernel)
    cell = kernel.start(WAIT, **on(gone))
    kernel.wait_for_stream(cell, "waiting\n")
    behind = [
        kernel.start("1", **on(gone)),
        kernel.send("shell", "complete_request", {"code": "a"}, **on(gone)),
    ]
    kernel.execute_ok(f"get_ipython().kernel.subshells[{gone!r}].channel.socket.shutdown(2)")
    assert kernel.collect(cell).content["ename"] == "SubshellError"
    assert [kernel.collect(request).status for request in behind] == ["error"] * 2
    assert living(kernel) == []
    kernel.execute_ok("go.set()")
    kernel.pump_for(0.2)
    kernel.unread["iopub"] = [m for m in kernel.unread["iopub"] if not m.answers(cell)]


@ours
def test_an_interpreter_that_dies_answers_for_a_subshell_that_is_being_created(start_kernel):
    kernel = start_kernel()
    # the thread that would open it waits for the GIL
    cell = kernel.start("import os, re\nprint('up', flush=True)\nre.match('(a+)+b', 'a' * 24)\nos._exit(1)")
    kernel.wait_for_stream(cell, "up\n")
    asked = [kernel.send("control", "create_subshell_request") for _ in range(3)]
    kernel.collect(cell)
    for request in asked:
        assert kernel.collect(request).status in ("ok", "error")
    assert living(kernel) == []


@ours
def test_a_comm_message_of_a_deleted_subshell_gets_its_idle(kernel):
    gone = create(kernel)
    kernel.execute_ok(COMM)
    opened = {"comm_id": f"c {gone}", "target_name": "t", "data": {}}
    kernel.take_until_idle(kernel.send("shell", "comm_open", opened, **on(gone)))
    code = "import asyncio, time\nawait asyncio.sleep(0)\nprint('up', flush=True)\ntime.sleep(0.5)"
    cell = kernel.start(code, **on(gone))
    kernel.wait_for_stream(cell, "up\n")
    content = {"comm_id": opened["comm_id"], "data": {"n": 1}}
    message = kernel.send("shell", "comm_msg", content, **on(gone))
    kernel.request("shell", "kernel_info_request")  # the message has arrived
    delete(kernel, gone)
    assert kernel.collect(cell).status == "ok"
    assert [m.content["data"] for m in kernel.take_until_idle(message) if m.type == "comm_msg"] == [
        {"echo": {"n": 1}}
    ]


# --- interrupts of several


@ours
def test_an_interrupt_ends_the_cells_of_all_subshells(kernel, subshell):
    others = [create(kernel) for _ in range(3)]
    cells = [
        kernel.start("print('up', flush=True)\nwhile True: pass", **on(each)) for each in (subshell, *others)
    ]
    for cell in cells:
        kernel.wait_for_stream(cell, "up\n")
    kernel.interrupt_by_message()
    assert [kernel.collect(cell).content["ename"] for cell in cells] == ["KeyboardInterrupt"] * 4
    for each in others:
        delete(kernel, each)


@ours
def test_a_subshell_that_cannot_be_interrupted_keeps_no_other_from_it(kernel, subshell):
    other = create(kernel)
    kernel.execute_ok(
        f"first = get_ipython().kernel.subshells[{subshell!r}]\nfirst.interrupt = lambda n: 1 / 0"
    )
    stubborn = kernel.start(WAIT, **on(subshell))
    kernel.wait_for_stream(stubborn, "waiting\n")
    cell = kernel.start("print('up', flush=True)\nwhile True: pass", **on(other))
    kernel.wait_for_stream(cell, "up\n")
    kernel.interrupt_by_message()
    ended = kernel.collect(cell)
    assert ended.content["ename"] == "KeyboardInterrupt"
    kernel.execute_ok("go.set(); del first.interrupt")
    assert ended.stderr + kernel.collect(stubborn).stderr == ""
    assert "ZeroDivisionError" in kernel.kernel_log(), "what fails within the kernel is told by its log"
    delete(kernel, other)


@ours
def test_an_interrupt_ends_a_subshells_cell_that_has_only_just_begun(kernel, subshell):
    for _ in range(30):
        cell = kernel.start("while True: pass", **on(subshell))
        given = kernel.take(
            "iopub", lambda m, cell=cell: m.answers(cell) and m.type == "execute_input", "execute_input"
        )
        kernel.interrupt_by_message()
        kernel.unread["iopub"].insert(1, given)
        assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
