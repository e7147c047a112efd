"""Whose output it is: what threads, tasks, callbacks and other contexts print and display goes to the request it belongs to."""

import pytest

ours = pytest.mark.ours


def late(kernel, request, what, enough):
    """What comes for `request` after its idle: text of stdout until `enough` has come."""
    text = ""
    while enough not in text:
        message = kernel.take("iopub", request.is_parent_of, what)
        assert message.type == "stream", message
        text += message.content["text"]
    return text


TASK = """
import asyncio
steps = []
async def work():
    for i in range(3):
        await gate.wait()
        gate.clear()
        print('task', i)
        steps.append(i)
gate = asyncio.Event()
task = asyncio.create_task(work())
"""


def test_a_task_prints_into_the_cell_that_made_it(kernel):
    first = kernel.execute_ok(TASK)
    for i in range(3):
        other = kernel.execute_ok(
            "import asyncio\nprint('here')\ngate.set(); await asyncio.sleep(0.05)\nprint('there')"
        )
        assert other.stdout == "here\nthere\n"
        assert late(kernel, first.request, "text of the task", "\n") == f"task {i}\n"


def test_a_task_displays_into_the_cell_that_made_it(kernel):
    code = "import asyncio\nasync def show():\n    await asyncio.sleep(0.1)\n    display('late')\ntask = asyncio.create_task(show())"
    first = kernel.execute_ok(code)
    kernel.execute_ok("import asyncio; await asyncio.sleep(0.3)")
    shown = kernel.take("iopub", first.request.is_parent_of, "display")
    assert (shown.type, shown.content["data"]["text/plain"]) == ("display_data", "'late'")


def test_a_callback_prints_into_the_cell_that_asked_for_it(kernel):
    code = "import asyncio\n_ = asyncio.get_running_loop().call_later(0.1, print, 'called')"
    first = kernel.execute_ok(code)
    second = kernel.execute_ok("await asyncio.sleep(0.3)")
    assert second.stdout == ""
    assert late(kernel, first.request, "text of the callback", "\n") == "called\n"


def test_a_task_that_floods_loses_nothing_and_keeps_its_order(kernel):
    code = """
import asyncio, sys
async def flood():
    await start.wait()
    for i in range(20_000):
        print(i)
        if i % 1000 == 0:
            await asyncio.sleep(0)
start = asyncio.Event()
task = asyncio.create_task(flood())
"""
    first = kernel.execute_ok(code)
    other = kernel.execute_ok("start.set()\nawait task\nprint('done')")
    assert other.stdout == "done\n"
    text = late(kernel, first.request, "text of the flood", "19999\n")
    assert text == "".join(f"{i}\n" for i in range(20_000))


def test_text_and_displays_of_a_task_keep_their_order(kernel):
    code = """
import asyncio, sys
async def both():
    await start.wait()
    for i in range(5):
        print('text', i, end='')
        display(i)
start = asyncio.Event()
task = asyncio.create_task(both())
"""
    first = kernel.execute_ok(code)
    kernel.execute_ok("start.set()\nawait task")
    said, was_text = [], False
    while not said or said[-1] != "4":
        message = kernel.take("iopub", first.request.is_parent_of, "an output of the task")
        is_text = message.type == "stream"
        part = message.content["text"] if is_text else message.content["data"]["text/plain"]
        if is_text and was_text:  # a text without a line end may be given out at any moment
            said[-1] += part
        else:
            said.append(part)
        was_text = is_text
    assert said == [part for i in range(5) for part in (f"text {i}", str(i))]


THREAD = """
import threading
parent = get_ipython().get_parent()
go, done = threading.Event(), threading.Event()
def work():
    {opt_in}
    go.wait()
    print('thread words')
    done.set()
thread = threading.Thread(target=work)
thread.start()
"""


@pytest.mark.parametrize("loop", ["pass", "import asyncio"])
def test_a_thread_prints_into_the_newest_cell(start_kernel, loop):
    kernel = start_kernel()
    kernel.execute_ok(loop)
    kernel.execute_ok(THREAD.format(opt_in="pass"))
    second = kernel.execute_ok("go.set(); thread.join()")
    assert second.stdout == "thread words\n"


OPT_INS = {
    "the shell": "get_ipython().set_thread_parent(parent)",
    "the stream": "import sys; sys.stdout.set_thread_parent(parent)",
}


@pytest.mark.parametrize("opt_in", OPT_INS.values(), ids=OPT_INS)
def test_a_thread_may_choose_its_cell_through(start_kernel, opt_in):
    kernel = start_kernel()
    first = kernel.execute_ok(THREAD.format(opt_in=opt_in))
    second = kernel.execute_ok("go.set(); thread.join(); print('mine')")
    assert second.stdout == "mine\n"
    assert late(kernel, first.request, "text of the thread", "\n") == "thread words\n"


def test_a_thread_that_gives_its_parent_back_prints_into_the_newest_cell(kernel):
    code = THREAD.format(
        opt_in="token = get_ipython().set_thread_parent(parent); get_ipython().reset_thread_parent(token)"
    )
    kernel.execute_ok(code)
    assert kernel.execute_ok("go.set(); thread.join()").stdout == "thread words\n"


def test_a_function_in_another_thread_of_asyncio_prints_into_its_cell(kernel):
    code = """
import asyncio, threading
go = threading.Event()
def work():
    go.wait()
    print('to_thread')
task = asyncio.create_task(asyncio.to_thread(work))
await asyncio.sleep(0.1)
"""
    first = kernel.execute_ok(code)
    assert kernel.execute_ok("go.set()\nawait task").stdout == ""
    assert late(kernel, first.request, "text of the thread", "\n") == "to_thread\n"


def test_a_copied_context_prints_into_its_cell(kernel):
    kernel.execute_ok("import asyncio")
    first = kernel.execute_ok("import contextvars; context = contextvars.copy_context()")
    second = kernel.execute_ok("context.run(print, 'copied'); print('mine')")
    assert second.stdout == "mine\n"
    assert late(kernel, first.request, "text of the context", "\n") == "copied\n"


def test_set_parent_moves_prints_of_the_cell_and_of_its_threads(kernel):
    first = kernel.execute_ok("parent = get_ipython().get_parent()")
    code = (
        "import threading\nip = get_ipython(); now = ip.get_parent()\nprint('before')\nip.set_parent(parent)\n"
        "print('moved')\nthread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "ip.set_parent(now)\nprint('after')"
    )
    assert kernel.execute_ok(code).stdout == "before\nafter\n"
    assert late(kernel, first.request, "moved text", "thread\n") == "moved\nthread\n"
    assert kernel.execute_ok("print('next')").stdout == "next\n"


def test_set_parent_of_a_stream_moves_that_stream_until_the_next_cell(kernel):
    first = kernel.execute_ok("parent = get_ipython().get_parent()")
    code = "import sys\nprint('before')\nsys.stdout.set_parent(parent)\nprint('moved')\nprint('err', file=sys.stderr)"
    second = kernel.execute_ok(code)
    assert (second.stdout, second.stderr) == ("before\n", "err\n")
    assert late(kernel, first.request, "moved text", "\n") == "moved\n"
    assert kernel.execute_ok("print('next')").stdout == "next\n"


def test_set_parent_of_the_display_publisher_moves_displays_alone(kernel):
    first = kernel.execute_ok("parent = get_ipython().get_parent()")
    code = "get_ipython().display_pub.set_parent(parent)\ndisplay('moved')\nprint('here')"
    assert kernel.execute_ok(code).outputs == ["stdout"]
    shown = kernel.take("iopub", first.request.is_parent_of, "display")
    assert shown.content["data"]["text/plain"] == "'moved'"


@ours
def test_alternating_parents_keep_the_order_of_each(kernel):
    """Text of the cell itself and text sent by name of another parent never overtake each other's displays."""
    first = kernel.execute_ok("import asyncio, contextvars; context = contextvars.copy_context()")
    second = kernel.execute_ok(
        "for i in range(50):\n    print('mine', i)\n    context.run(print, 'theirs', i)\n    display(i)"
    )
    assert second.outputs == ["stdout", "display_data"] * 50
    assert late(kernel, first.request, "text", "theirs 49\n") == "".join(f"theirs {i}\n" for i in range(50))


def test_stdout_and_stderr_keep_their_order_once_asyncio_is_there(kernel):
    kernel.execute_ok("import asyncio")
    code = (
        "import sys\nfor i in range(20):\n    print(i, flush=True)\n    print(i, file=sys.stderr, flush=True)"
    )
    names = [m.content["name"] for m in kernel.execute_ok(code).of("stream")]
    assert names == ["stdout", "stderr"] * 20


@pytest.mark.parametrize("loop", ["pass", "import asyncio"])
def test_a_forked_child_prints_once_whatever_runs(start_kernel, loop):
    kernel = start_kernel()
    kernel.execute_ok(loop)
    code = "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as pool: pool.map(print, ['a', 'b'])\nimport time; time.sleep(0.5)"
    assert sorted(kernel.execute_ok(code).stdout.replace("\n", "")) == ["a", "b"]


def test_hooks_of_a_stream_take_and_see_nothing(start_kernel):
    """They are those of the thread that sends, in which no code of the user's runs."""
    kernel = start_kernel()
    kernel.execute_ok("import sys\ntaken = []\nhook = taken.append\nsys.stdout.register_hook(hook)")
    assert kernel.execute_ok("print('shown')\nsys.stdout.flush()").stdout == "shown\n"
    kernel.execute_ok(
        "assert sys.stdout.unregister_hook(hook) and not sys.stdout.unregister_hook(hook) and not taken"
    )


def test_a_thread_that_set_the_parent_keeps_it_when_the_next_cell_begins(start_kernel):
    kernel = start_kernel()
    code = """
import threading
go, over = threading.Event(), threading.Event()
def work():
    get_ipython().set_parent(parent)
    print("before", flush=True)
    go.wait()
    print("during", flush=True)
    over.set()
parent = get_ipython().get_parent()
thread = threading.Thread(target=work); thread.start()
"""
    kernel.execute_ok(code)
    assert kernel.execute_ok("go.set(); over.wait(); thread.join()").stdout == ""
    kernel.pump_for(0.3)
    late = kernel.unread["iopub"]
    assert all(message.type in ("stream", "status") for message in late)
    late.clear()
