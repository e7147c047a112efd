"""Cells that break what they can reach of their own interpreter.

Whatever a cell does: heartbeat and control answer, the cell gets an answer (maybe that its interpreter died), and the next
cell works (maybe in a fresh interpreter).
"""

import os
import signal
import textwrap
import time

import pytest

from hostile import SMALL, SOON, assert_front_lives, is_from_elsewhere, watched

pytestmark = pytest.mark.ours

# Cells that must succeed, and what they print.
HARMLESS = {
    "lone surrogates": """
        from IPython.display import display
        display({"application/x+json": {"\\ud800": "\\udfff"}}, metadata={"\\ud800": 1}, raw=True)
        print("said")
    """,
    "numbers that are none": """
        from IPython.display import display
        display({"application/x+json": [float("nan"), float("inf"), -float("inf")]}, metadata={"n": float("nan")}, raw=True)
        print("said")
    """,
    "bytes where text belongs": """
        from IPython.display import display
        display({"application/x+json": b"\\xff\\0", "image/png": b"\\x89PNG"}, metadata={"b": b"\\xff"}, raw=True)
        print("said")
    """,
    "a cycle": """
        from IPython.display import display
        cycle = []
        cycle.append(cycle)
        display({"application/x+json": cycle}, metadata={"c": cycle}, raw=True)
        print("said")
    """,
    "a cycle that doubles": """
        from IPython.display import display
        one, two = {}, {}
        one.update(a=one, b=two, c=[one, two])
        two.update(a=one, b=two, c=[one, two])
        display({"application/x+json": one}, metadata=one, raw=True)
        print("said")
    """,
    "keys of every kind": """
        from IPython.display import display
        display({"application/x+json": {(1, 2): 1, None: 2, 1.5: 3, b"k": 4, frozenset(): 5}}, raw=True)
        print("said")
    """,
    "names that are no text": """
        globals()["\\ud800"] = bytearray(1 << 20)
        globals()["a\\nb\\0"] = bytearray(1 << 20)
        globals()[""] = 1
        print("said")
    """,
    "objects that lie": """
        class Liar:
            __class__ = property(lambda self: 1 / 0)
            __len__ = __sizeof__ = __repr__ = __hash__ = __bool__ = __eq__ = lambda self, *_: 1 / 0
            def __getattr__(self, name):
                raise BaseException(name)
        class Loud(dict):
            def __len__(self): raise KeyboardInterrupt
            __iter__ = items = keys = values = __sizeof__ = __len__
        liars = [Liar() for _ in range(10)]
        liar, loud = Liar(), Loud()
        kept = bytearray(64 << 20)
        print("said")
    """,
    "twenty children that print": """
        import os
        children = []
        for number in range(20):
            pid = os.fork()
            if pid == 0:
                print("child", number, flush=True)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
    """,
    "a child that shows and ends": """
        import os
        from IPython.display import display
        if (pid := os.fork()) == 0:
            display({"text/plain": "from a child"}, raw=True)
            os._exit(3)
        os.waitpid(pid, 0)
        print("said")
    """,
    "a child that comes back": """
        import os
        mother = os.getpid()
        pid = os.fork()
        if os.getpid() == mother:
            os.waitpid(pid, 0)
            print("said")
    """,
    "a child that comes back from an await": """
        import asyncio, os
        mother = os.getpid()
        await asyncio.sleep(0)
        pid = os.fork()
        await asyncio.sleep(0)
        if os.getpid() == mother:
            os.waitpid(pid, 0)
            print("said")
    """,
    "SIGINT to itself": """
        import os, signal
        for number in range(200):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000): pass
            except KeyboardInterrupt:
                pass
        print("said")
    """,
    "threads that exit": """
        import sys, threading
        threading.excepthook = lambda *_: None
        threads = [threading.Thread(target=sys.exit) for _ in range(50)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print("said")
    """,
    "two thousand threads": """
        import threading
        gate = threading.Event()
        for _ in range(2000):
            threading.Thread(target=gate.wait, daemon=True).start()
        print("said")
    """,
    "no collector": "import gc; gc.disable(); print('said')",
    "no environment": "import os; os.environ.clear(); print('said')",
    "no folder": """
        import os, tempfile
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)
        print("said")
    """,
    "a flood of interrupts ignored": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('said')",
}

# What a frame of the channel begins with.
MARK = repr(b"\xffRH\xfe")

# Cells after which anything is allowed but silence.
EVIL = {
    "garbage on the channel": "import os; os.write(3, b'garbage' * 1000)",
    "random bytes on the channel": "import os; os.write(3, os.urandom(100_000))",
    "zeros on the channel": "import os; os.write(3, bytes(1000))",
    "a byte on the channel": "import os; os.write(3, b'x')",
    "a small number on the channel": "import os; os.write(3, b'\\1\\0\\0\\0')",
    "an absurd length on the channel": "import os, struct; os.write(3, struct.pack('<I2Q', 2, 2, 1 << 60) + b'{}')",
    "absurd lengths on the channel": "import os, struct; os.write(3, struct.pack('<I3Q', 3, *[(1 << 64) - 1] * 3))",
    "a terabyte on the channel": "import os, struct; os.write(3, struct.pack('<IQ', 1, 1 << 40))",
    "too many sections on the channel": "import os, struct; os.write(3, struct.pack('<IQ', 1 << 31, 0))",
    "an absurd length in a good frame": f"import os, struct; os.write(3, {MARK} + struct.pack('<I2Q', 2, 2, 1 << 60) + b'{{}}')",
    "absurd lengths in a good frame": f"import os, struct; os.write(3, {MARK} + struct.pack('<I3Q', 3, *[(1 << 64) - 1] * 3))",
    "a terabyte in a good frame": f"import os, struct; os.write(3, {MARK} + struct.pack('<IQ', 1, 1 << 40))",
    "too many sections in a good frame": f"import os, struct; os.write(3, {MARK} + struct.pack('<IQ', 1 << 31, 0))",
    "no section in a good frame": f"import os, struct; os.write(3, {MARK} + bytes(4))",
    "the channel read by a cell": """
        import os, threading
        threading.Thread(target=os.read, args=(3, 4)).start()
    """,
    "no channel after an await": "import asyncio; await asyncio.sleep(0); get_ipython().kernel.channel = None",
    "no payloads after an await": "import asyncio; await asyncio.sleep(0); get_ipython().payload_manager = None",
    "the channel closed after an await": "import asyncio, os; await asyncio.sleep(0); os.close(3)",
    "a cut frame": f"import os, struct; os.write(3, {MARK} + struct.pack('<IQ', 1, 100)[:9])",
    "an envelope that is none": "get_ipython().kernel.channel._write([b'nonsense'])",
    "an unknown operation": "get_ipython().kernel.channel.send({'op': 'no such thing'})",
    "a reply to nothing": "get_ipython().kernel._reply(10**9, 'execute_reply', {})",
    "a reply of its own": "get_ipython().kernel._reply(1, 'execute_reply', {'status': 'error', 'ename': 'E', 'evalue': '', 'traceback': []})",
    "ready again": "get_ipython().kernel.channel.send({'op': 'ready'}); get_ipython().kernel.channel.send({'op': 'hello'})",
    "facts unasked": "get_ipython().kernel.channel.send({'op': 'facts'}, b'{')",
    "an input request of nonsense": "get_ipython().kernel.channel.send({'op': 'sync', 'id': -1}, b'')",
    "the channel's socket closed": "get_ipython().kernel.channel.socket.close()",
    "the channel shut down": "import socket; get_ipython().kernel.channel.socket.shutdown(socket.SHUT_RDWR)",
    "no channel": "get_ipython().kernel.channel = None",
    "no kernel": "get_ipython().kernel = None",
    "no shell": "get_ipython().kernel.shell = None",
    "no display hook": "import sys; sys.displayhook = None; get_ipython().displayhook = None\n1",
    "no events": "get_ipython().events = None",
    "no payloads": "get_ipython().payload_manager = None",
    "a number too large": "get_ipython().execution_count = 2**70",
    "all descriptors closed": "import os; os.closerange(0, 10_000)",
    "descriptors exhausted": """
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        held = []
        try:
            while True: held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            print(error)
    """,
    "memory exhausted": """
        import resource
        size = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + (8 << 20), resource.RLIM_INFINITY))
        held = []
        while True: held.append(bytearray(100_000))
    """,
    "stdout and stderr junk": "import sys; sys.stdout = 5; sys.stderr = None; sys.stdin = object()",
    "streams closed": "import sys; sys.stdout.close(); sys.stderr.close(); sys.__stdout__.close(); print('x')",
    "streams detached": "import sys; sys.stdout.detach(); sys.stderr.detach()",
    "no print, len, isinstance": "import builtins; del builtins.print, builtins.len, builtins.isinstance, builtins.getattr",
    "no builtins": "import builtins; builtins.__dict__.clear()",
    "no import": "import builtins; builtins.__import__ = None",
    "no modules": "import sys; sys.modules.clear()",
    "no path": "import sys; sys.path = sys.meta_path = None",
    "no recursion": "import sys; sys.setrecursionlimit(60)",
    "deep recursion": "import sys; sys.setrecursionlimit(5_000)\ndef f(): return f()\nf()",
    "endless recursion in C": """
        import sys
        sys.setrecursionlimit(10**9)
        nest = []
        for _ in range(10**6): nest = [nest]
        repr(nest)
    """,
    "a null pointer": "import ctypes; ctypes.string_at(0)",
    "abort": "import os; os.abort()",
    "exit": "import os; os._exit(0)",
    "exit in a thread": "import os, threading; threading.Thread(target=os._exit, args=(1,)).start(); threading.Event().wait(5)",
    "SystemExit": "raise SystemExit(5)",
    "an exception without a text": """
        class Dumb(BaseException):
            __str__ = __repr__ = lambda self: 1 / 0
        raise Dumb
    """,
    "an exception of surrogates": "raise ValueError('\\ud800\\0\\x1b')",
    "an exception that is its own cause": "e = ValueError(); e.__cause__ = e; e.__context__ = e; raise e",
    "json.dumps gone": "import json; json.dumps = json.loads = None",
    "time gone": "import time; time.perf_counter = time.process_time = time.monotonic = time.sleep = time.time = None",
    "os gone": "import os; os.write = os.read = os.getpid = os.fspath = os._exit = None",
    "socket gone": "import socket; socket.socket = socket.socket.sendall = None",
    "struct gone": "import struct, select, fcntl; struct.pack = struct.unpack = select.poll = fcntl.ioctl = None",
    "threading gone": "import threading; threading.get_ident = threading.current_thread = threading.RLock = None",
    "asyncio gone": "import asyncio; asyncio.ensure_future = asyncio.CancelledError = None",
    "gc gone": "import gc; gc.get_objects = gc.collect = gc.get_referrers = gc.get_stats = gc.get_count = None",
    "sys gone": "import sys; sys.exc_info = sys._current_frames = sys.getsizeof = sys.getrefcount = None",
    "traceback gone": "import traceback; traceback.format_exception = traceback.print_exc = None\n1/0",
    "the loop stopped": "import asyncio; asyncio.get_event_loop().stop()",
    "the loop closed": "import asyncio; asyncio.get_event_loop().close()",
    "the loop closed later": "import asyncio; loop = asyncio.get_event_loop(); loop.call_soon(loop.stop); loop.call_soon(loop._ready.clear)",
    "the loop's selector closed": "import asyncio; asyncio.get_event_loop()._selector.close()",
    "the loop without its reader": "import asyncio; asyncio.get_event_loop().remove_reader(3)",
    "tasks cancelled": """
        import asyncio
        await asyncio.sleep(0)
        for task in asyncio.all_tasks(): task.cancel()
        await asyncio.sleep(1)
    """,
    "a trace that fails": "import sys; sys.settrace(lambda *_: 1 / 0); sys.setprofile(lambda *_: 1 / 0)",
    "an alarm": "import signal; signal.setitimer(signal.ITIMER_REAL, 0.05)",
    "an alarm that raises": """
        import signal
        def raises(*_): raise RuntimeError("alarm")
        signal.signal(signal.SIGALRM, raises)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    """,
    "hooks that fail": """
        ip = get_ipython()
        def fails(*_): raise BaseException("hook")
        for event in ("pre_execute", "post_execute", "pre_run_cell", "post_run_cell"): ip.events.register(event, fails)
    """,
    "transformers that fail": "get_ipython().input_transformers_cleanup.append(lambda lines: 1 / 0)",
    "ast transformers that fail": """
        class Fails:
            def visit(self, node): raise BaseException("ast")
        get_ipython().ast_transformers.append(Fails())
    """,
    "history without a database": "get_ipython().history_manager = None",
    "a thread that talks over the reply": """
        import threading
        channel = get_ipython().kernel.channel
        content = b'{"name": "stdout", "text": "' + b"x" * (50 << 20) + b'"}'
        frame = {"op": "publish", "type": "stream"}, b"", b"{}", content
        threading.Thread(target=channel.send, args=frame).start()
    """,
}
for number in range(6):
    EVIL[f"descriptor {number} closed"] = f"import os; os.close({number})"
    EVIL[f"descriptor {number} replaced by a file"] = (
        f"import os; os.dup2(os.open('/dev/null', os.O_RDWR), {number})"
    )
    EVIL[f"descriptor {number} replaced by a pipe"] = f"import os; os.dup2(os.pipe()[1], {number})"
    EVIL[f"descriptor {number} replaced by stdout"] = f"import os; os.dup2(1, {number})"


# The cell took away what every later cell needs, Python lives and its variables are kept: each cell is told, as anywhere.
STAYS_BROKEN = {
    "no kernel",
    "no shell",
    "no display hook",
    "no events",
    "no payloads",
    "no payloads after an await",
    "stdout and stderr junk",
    "no import",
    "no modules",
    "os gone",
    "asyncio gone",
    "hooks that fail",
    "transformers that fail",
    "ast transformers that fail",
    "history without a database",
}


@pytest.fixture
def kernel(start_kernel):
    kernel = start_kernel()
    elsewhere = is_from_elsewhere(kernel)
    kernel.tolerates = lambda m: elsewhere(m) or m.type == "stream"  # last words of a dying interpreter
    return kernel


def answered(kernel, code):
    """The exchange of a cell that may do what it likes, in time; its output may be nonsense."""
    cell = kernel.start(textwrap.dedent(code))
    assert_front_lives(kernel)
    exchange = kernel.collect(cell, SOON)
    assert exchange.status in ("ok", "error")
    return exchange


@pytest.mark.parametrize("name", HARMLESS)
def test_a_nasty_cell_succeeds(kernel, name):
    exchange = answered(kernel, HARMLESS[name])
    assert exchange.status == "ok", exchange.content
    wanted = sorted(f"child {n}" for n in range(20)) if "children" in name else ["said"]
    assert sorted(exchange.stdout.split("\n")[:-1]) == wanted
    assert kernel.execute_ok("print('alive')", timeout=SOON).stdout == "alive\n"


@pytest.mark.parametrize("name", EVIL)
def test_an_evil_cell_gets_an_answer_and_the_kernel_goes_on(kernel, name):
    with watched(kernel, 2 * SMALL):
        answered(kernel, EVIL[name])
        kernel.execute("pass", timeout=SOON)  # the damage may show only now
        exchange = kernel.execute("'al' + 'ive'", timeout=SOON)
    if name not in STAYS_BROKEN:
        assert exchange.status == "ok", exchange.content
        assert exchange.result == "'alive'"


def test_a_loop_that_takes_every_interrupt_is_ended_by_shutdown(kernel):
    cell = kernel.start(
        "print('running', flush=True)\nwhile True:\n  try:\n    while True: pass\n  except KeyboardInterrupt: pass"
    )
    kernel.wait_for_stream(cell, "running\n")
    for _ in range(20):
        kernel.request("control", "interrupt_request", timeout=SOON)
    assert_front_lives(kernel)
    end_in_time(kernel)


def test_an_interpreter_that_stopped_itself_is_ended_by_shutdown(kernel):
    kernel.start("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    time.sleep(0.2)
    kernel.request("control", "interrupt_request", timeout=SOON)
    assert_front_lives(kernel)
    end_in_time(kernel)


def end_in_time(kernel):
    begin = time.monotonic()
    kernel.shut_down()
    kernel.assert_all_gone(SOON)
    assert time.monotonic() - begin < SOON
    kernel.kill()


def test_an_interpreter_killed_between_cells_is_replaced(kernel):
    for _ in range(5):
        os.kill(kernel.evaluate("__import__('os').getpid()"), signal.SIGKILL)
        cell = kernel.start("'al' + 'ive'")
        exchange = kernel.collect(cell, SOON)
        if exchange.status == "error":
            assert exchange.content["ename"] == "InterpreterDied"
            exchange = kernel.execute_ok("'al' + 'ive'", timeout=SOON)
        assert exchange.result == "'alive'"


@pytest.mark.parametrize("harm", ["os.write(3, b'garbage')", "os.close(3)", "os._exit(1)"])
def test_harm_done_between_cells_brings_a_fresh_interpreter(kernel, harm):
    """Once the harm is known to have been done the next cell runs; nobody had to ask for it."""
    kernel.execute_ok(f"import os, threading; threading.Timer(0.2, lambda: {harm}).start()")
    if "close" not in harm:  # a closed descriptor shows with the next frame only
        kernel.take("iopub", lambda m: m.is_status("starting"), "a fresh interpreter", timeout=SOON)
    else:
        kernel.pump_for(0.4)
        kernel.execute("pass", timeout=SOON)
    assert kernel.execute_ok("'al' + 'ive'", timeout=SOON).result == "'alive'"
