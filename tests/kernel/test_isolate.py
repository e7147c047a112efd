"""`%%isolate`: one cell in a disposable copy of the interpreter."""

import time

import pytest

from frontend import PATIENCE

MIB = 1 << 20
pytestmark = pytest.mark.ours
BOTH = pytest.mark.parametrize("how", ["", "--fresh"], ids=["fork", "fresh"])


@pytest.fixture
def ready(kernel):
    kernel.execute_ok("""
import os, numpy as np
for name in [n for n in list(globals()) if n in ("result", "model", "other", "handle")]: del globals()[name]
given = np.arange(1_000_000.0)
class Point:
    def __init__(self, x): self.x = x
def double(x): return x * factor
factor = 2
""")
    return kernel


def interpreter(kernel):
    return kernel.evaluate("__import__('os').getpid()")


def wait_until_alone(kernel):
    deadline = time.monotonic() + PATIENCE
    while len(kernel.processes()) > 2:
        assert time.monotonic() < deadline, kernel.processes()
        time.sleep(0.02)


@BOTH
def test_results_come_back_and_nothing_else(ready, how):
    pid = interpreter(ready)
    exchange = ready.execute_ok(f"""%%isolate result model {how}
import os
print("pid", os.getpid())
big = bytearray(300_000_000)
result = double(given)[::2].copy()
model = {{"point": Point(3), "double": double}}
factor = 5
len(big)
""")
    assert exchange.result == "300000000"
    assert exchange.stdout.startswith("pid ") and f"pid {pid}\n" not in exchange.stdout
    assert "Isolated: result, model came back (3.8 MiB); the copy took" in exchange.stdout
    assert ready.evaluate("(float(result[-1]), factor, 'big' in globals())") == (1999996.0, 2, False)
    assert ready.evaluate("(type(model['point']) is Point, model['point'].x, model['double'] is double)") == (
        True,
        3,
        True,
    )
    assert interpreter(ready) == pid
    wait_until_alone(ready)


@BOTH
def test_what_is_made_in_place_of_a_function_is_not_taken_for_it(ready, how):
    ready.execute_ok("def f(): return 'the old one'")
    ready.execute_ok(f"""%%isolate made {how}
old = id(f)
def f(): return "the new one"
made = []
while len(made) < 20_000 and (not made or id(made[-1]) != old):
    made.append(lambda: "mine")
made = made[-1]
""")
    assert ready.evaluate("(made(), f())") == ("mine", "the old one")


@BOTH
def test_its_memory_is_gone_and_its_peak_is_told(ready, how):
    code = f"%%isolate {how}\nbig = np.ones(40_000_000)"
    exchange = ready.execute_ok(code)
    assert "nothing was to come back; the copy took" in exchange.stdout
    took = float(exchange.stdout.split("took ")[1].split(" MiB")[0])
    assert 300 < took < 500
    assert abs(exchange.reply.metadata["rust_hygiene"]["host"]["delta"]) < 20 * MIB
    wait_until_alone(ready)


@BOTH
def test_an_error_is_shown_as_ever_and_changes_nothing(ready, how):
    exchange = ready.execute(f"%%isolate result {how}\ndef inner(x):\n    return 1 / x\nresult = 1\ninner(0)")
    assert (
        exchange.content["ename"] == "ZeroDivisionError" and exchange.content["evalue"] == "division by zero"
    )
    (error,) = exchange.of("error")
    assert error.content["traceback"] == exchange.content["traceback"]
    told = "\n".join(error.content["traceback"])
    assert "inner" in told and "isolate.py" not in told
    assert ready.evaluate("'result' in globals()") is False
    assert ready.execute(f"%%isolate {how}\n1 +").content["ename"] == "SyntaxError"
    wait_until_alone(ready)


@BOTH
def test_what_cannot_come_back_is_named_and_nothing_changes(ready, how):
    exchange = ready.execute(
        f"%%isolate result handle missing {how}\nresult = 1\nhandle = (x for x in range(3))"
    )
    assert exchange.content["ename"] == "UsageError"
    told = exchange.content["evalue"]
    assert "Nothing has changed" in told and "handle: " in told and "missing: there is no such name" in told
    assert "result: " not in told
    assert ready.evaluate("'result' in globals()") is False


def test_a_new_interpreter_says_what_it_cannot_take_along(ready):
    exchange = ready.execute("handle = open('/dev/null')\n")
    assert exchange.status == "ok"
    exchange = ready.execute("%%isolate result --fresh\nresult = handle.name")
    assert "Nothing was run" in exchange.content["evalue"] and "handle: " in exchange.content["evalue"]
    assert ready.execute_ok("%%isolate result\nresult = handle.name").stdout
    assert ready.evaluate("result") == "/dev/null"


@BOTH
def test_interrupts_end_it(ready, how):
    cell = ready.start(f"%%isolate result {how}\nprint('on', flush=True)\nimport time\ntime.sleep(100)")
    ready.wait_for_stream(cell, "on")
    ready.interrupt_by_message()
    exchange = ready.collect(cell)
    assert exchange.content["ename"] == "KeyboardInterrupt"
    assert "time" in "\n".join(exchange.content["traceback"])
    wait_until_alone(ready)
    ready.execute_ok("1")


@pytest.mark.parametrize(
    "starts", ["", "import os; os.system('sleep 1000 &')\n"], ids=["alone", "with a process"]
)
def test_the_second_interrupt_ends_a_copy_that_does_not_hear(ready, starts):
    deaf = "%%isolate\nimport signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code = f"{deaf}{starts}print('on', flush=True)\ntime.sleep(100)"
    cell = ready.start(code)
    ready.wait_for_stream(cell, "on")
    ready.interrupt_by_message()
    time.sleep(0.3)
    ready.interrupt_by_message()
    assert ready.collect(cell).content["ename"] == "KeyboardInterrupt"
    wait_until_alone(ready)


@BOTH
def test_a_copy_that_dies_is_told(ready, how):
    pid = interpreter(ready)
    exchange = ready.execute(
        f"%%isolate result {how}\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert (
        "signal 9 (SIGKILL)" in exchange.content["evalue"]
        and "Nothing has changed" in exchange.content["evalue"]
    )
    exchange = ready.execute(f"%%isolate result {how}\nimport os; os._exit(3)")
    assert "exit code 3" in exchange.content["evalue"]
    assert interpreter(ready) == pid


@BOTH
def test_outputs_come_in_their_order_and_input_works(ready, how):
    code = f"""%%isolate name {how}
import os
from IPython.display import display
for i in range(3):
    print("text", i)
    display({{"text/plain": f"shown {{i}}"}}, raw=True)
os.system("echo from a child")
name = input("who? ")
print("hello", name)
"""
    cell = ready.start(code, allow_stdin=True)
    assert ready.recv_stdin_request().content["prompt"] == "who? "
    ready.answer_input("me")
    exchange = ready.collect(cell)
    seen = [
        m.content["text"] if m.type == "stream" else m.content["data"]["text/plain"]
        for m in exchange.iopub
        if m.type in ("stream", "display_data")
    ]
    begin = ["text 0\n", "shown 0", "text 1\n", "shown 1", "text 2\n", "shown 2"]
    assert seen[:6] == begin
    assert "from a child\nhello me\n" in exchange.stdout
    assert ready.evaluate("name") == "me"


@BOTH
def test_children_of_the_copy_display_in_order(ready, how):
    exchange = ready.execute_ok(f"""%%isolate {how}
import os
display('copy')
pid = os.fork()
if not pid:
    print('text of the child', flush=True)
    display('child')
    os._exit(0)
os.waitpid(pid, 0)
print('text of the copy')
display('end')
""")
    shown = [
        m.content["text"] if m.type == "stream" else m.content["data"]["text/plain"]
        for m in exchange.of("stream", "display_data")
    ]
    assert shown[:5] == ["'copy'", "text of the child\n", "'child'", "text of the copy\n", "'end'"]


def test_await_and_figures_work_in_a_fork(ready):
    exchange = ready.execute_ok(
        "%%isolate result\nimport asyncio\nasync def f(): await asyncio.sleep(0.01); return 7\nresult = await f()"
    )
    assert ready.evaluate("result") == 7 and exchange.stderr == ""


def test_threads_of_the_program_are_a_warning(ready):
    ready.execute_ok(
        "import threading; stop = threading.Event(); t = threading.Thread(target=stop.wait, name='mine'); t.start()"
    )
    exchange = ready.execute_ok("%%isolate\n1")
    assert "none of the 1 threads of the program (mine)" in exchange.stderr and "--fresh" in exchange.stderr
    assert ready.execute_ok("%%isolate --fresh\n1").stderr == ""
    ready.execute_ok("stop.set(); t.join()")
    assert ready.execute_ok("%%isolate\n1").stderr == ""


def test_a_runaway_in_a_copy_leaves_the_session(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_GUARD_CAP": "500 MiB"})
    kernel.execute_ok("import numpy as np; token = 1")
    exchange = kernel.execute("%%isolate result\nl = []\nwhile True: l.append(np.ones(1_000_000))")
    told = "".join(exchange.content["traceback"]) + exchange.stderr
    assert exchange.status == "error" and "of the cap of 500 MiB" in told, told
    assert kernel.evaluate("token") == 1
    wait_until_alone(kernel)


def test_a_bad_line_is_refused_and_words_are_completed(ready):
    assert "'a-b' is no name" in ready.execute("%%isolate a-b\n1").stderr + str(
        ready.execute("%%isolate a-b\n1").content
    )
    reply = ready.request("shell", "complete_request", {"code": "%%isolate giv", "cursor_pos": 13}).content
    assert reply["matches"] == ["given"]
    reply = ready.request(
        "shell", "complete_request", {"code": "%%isolate result --", "cursor_pos": 19}
    ).content
    assert reply["matches"] == ["--fresh"]


@BOTH
@pytest.mark.parametrize("end", ["done = 1", "1 / 0"], ids=["well", "error"])
def test_what_the_cell_has_written_gets_to_the_files(ready, how, end):
    ready.execute_ok("before = open('before', 'w'); unused = before.write('once;')" if not how else "1")
    ready.execute(f"""%%isolate {how}
import os
text, raw, both = open("text", "w"), open("raw", "wb"), open("both", "w+b")
class Own(type(text)):
    def flush(self): os.mkdir("was here")
own = Own(open("own", "wb"))
text.write("log"); raw.write(b"bytes"); both.write(b"and more"); own.write("not ours")
{end}
""")
    read = "[open(name).read() for name in ('text', 'raw', 'both')]"
    assert ready.evaluate(read) == ["log", "bytes", "and more"]
    assert ready.evaluate("__import__('os').path.exists('was here')") is False
    if not how:
        ready.execute_ok("before.close()")
        assert ready.evaluate("open('before').read()") == "once;"


def test_a_file_that_cannot_be_written_is_named_and_nobody_waits_for_a_pipe(ready):
    exchange = ready.execute_ok("%%isolate\nfull = open('/dev/full', 'w'); unused = full.write('x')")
    assert "%%isolate: not written: /dev/full: [Errno 28]" in exchange.stderr
    exchange = ready.execute_ok("""%%isolate
import os
reads, writes = os.pipe()
os.set_blocking(writes, False)
try:
    while True: os.write(writes, bytes(4096))
except BlockingIOError: os.set_blocking(writes, True)
pipe = os.fdopen(writes, "w"); unused = pipe.write("x")
""")
    assert "%%isolate: not written: file descriptor " in exchange.stderr and "too long" in exchange.stderr
    exchange = ready.execute_ok("%%isolate\nimport gc; gc.unfreeze(); file = open('x', 'w')")
    assert "not written: files that are still open: gc.unfreeze was called" in exchange.stderr


@BOTH
def test_what_the_cell_has_started_ends_with_it(ready, how):
    exchange = ready.execute_ok(f"""%%isolate {how}
import os, subprocess
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
os.system("sleep 1000 & (sleep 1000 & sleep 1000) &")
""")
    assert exchange.stderr == ""
    wait_until_alone(ready)
