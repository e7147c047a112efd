"""The debugger: debug requests on the control channel, debug events on IOPub, and debugpy behind them."""

import time

import pytest

from debug_client import Client, where
from frontend import KERNEL

ours = pytest.mark.ours

FUNCTION = """\
def f(a, b):
    c = a + b
    d = [c, c]
    return d

print("before", flush=True)
result = f(2, 3)
print("after")
"""


@pytest.fixture
def debugger(kernel):
    """A session as JupyterLab begins and ends it."""
    client = Client(kernel)
    client.start()
    yield client
    client.stop()
    client.drop_events()


@pytest.fixture
def idle(kernel):
    """A client that has not started debugging."""
    return Client(kernel)


def module_file(folder, name, text):
    path = folder / f"{name}.py"
    path.write_text(text)
    return str(path)


# ---------------------------------------------------------------------- what a front end asks first


def test_kernel_info_lists_the_debugger(kernel):
    content = kernel.request("control", "kernel_info_request").content
    assert "debugger" in content["supported_features"]


def test_debug_info_before_the_start(kernel, idle):
    info = idle.do("debugInfo")
    pid = kernel.evaluate("__import__('os').getpid()")
    tmp = kernel.evaluate("__import__('tempfile').gettempdir()")
    assert info == {
        "isStarted": False,
        "hashMethod": "Murmur2",
        "hashSeed": 0xC70F6907,
        "tmpFilePrefix": f"{tmp}/ipykernel_{pid}/",
        "tmpFileSuffix": ".py",
        "breakpoints": [],
        "stoppedThreads": [],
        "richRendering": True,
        "exceptionPaths": ["Python Exceptions"],
        "copyToGlobals": True,
    }


@ours
def test_nothing_of_the_debugger_is_there_before_it_is_used(start_kernel):
    kernel = start_kernel()
    assert kernel.evaluate("'debugpy' in __import__('sys').modules") is False
    assert kernel.evaluate("__import__('threading').active_count()") <= 2  # IPython's history has one
    Client(kernel).do("debugInfo")
    assert kernel.evaluate("'debugpy' in __import__('sys').modules") is False


# ---------------------------------------------------------------------- cells and their files


@pytest.mark.parametrize(
    "code",
    [
        "import sys; path = sys._getframe().f_code.co_filename",
        "\n\n# ünïcödé 🦀\npath = (lambda: 0).__code__.co_filename\n",
    ],
    ids=["plain", "empty lines and unicode"],
)
def test_a_cell_is_compiled_under_the_name_of_its_dump(kernel, debugger, code):
    path = debugger.dump(code)
    info = debugger.do("debugInfo")
    assert path.startswith(info["tmpFilePrefix"]) and path.endswith(info["tmpFileSuffix"])
    kernel.execute_ok(code)
    assert kernel.evaluate("path") == path
    assert debugger.do("source", source={"path": path})["content"] == code


def test_a_source_that_is_not_there(debugger):
    content = debugger.ask("source", source={"path": "/no/such/file.py"})
    assert content["success"] is False
    assert content["message"] == "source unavailable"


# ---------------------------------------------------------------------- stopping and stepping


def test_a_breakpoint_in_a_cell(kernel, debugger):
    cell = debugger.run(FUNCTION, 2)
    frames = debugger.stops("breakpoint")
    assert where(frames) == [("f", 2), ("<module>", 7)]
    kernel.wait_for_stream(cell, "before\n")  # what was printed is seen while it stands
    stopped = debugger.do("debugInfo")["stoppedThreads"]
    assert stopped == [1] if KERNEL != "python3" else 1 in stopped  # ipykernel counts its own threads
    assert debugger.values(frames[0]) == {"a": "2", "b": "3"}
    assert debugger.evaluate("a * 100", frames[0]) == "200"

    debugger.do("next", threadId=1)
    frames = debugger.stops("step")
    assert where(frames)[0] == ("f", 3)
    assert debugger.values(frames[0])["c"] == "5"
    debugger.do("stepOut", threadId=1)
    assert where(debugger.stops("step"))[0][0] == "<module>"
    debugger.go_on()
    done = kernel.collect(cell)
    assert done.status == "ok" and done.stdout == "before\nafter\n"
    assert kernel.evaluate("result") == [5, 5]
    assert debugger.do("debugInfo")["stoppedThreads"] == []


def test_stepping_into_a_function(kernel, debugger):
    cell = debugger.run(FUNCTION, 7)
    assert where(debugger.stops("breakpoint")) == [("<module>", 7)]
    debugger.do("stepIn", threadId=1)
    assert where(debugger.stops("step")) == [("f", 2), ("<module>", 7)]
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


def test_a_breakpoint_below_empty_lines(kernel, debugger):
    cell = debugger.run("\n\n\nvalue = 1\nvalue = 2\n", 5)
    assert where(debugger.stops("breakpoint")) == [("<module>", 5)]
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


def test_a_breakpoint_in_a_file(kernel, debugger, tmp_path):
    path = module_file(tmp_path, "stopped_here", "def g(x):\n    y = x + 1\n    return y\n")
    debugger.break_at(path, 2)
    cell = kernel.start(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport stopped_here\nstopped_here.g(41)"
    )
    frames = debugger.stops("breakpoint")
    assert where(frames) == [("g", 2), ("<module>", 3)]
    assert frames[0]["source"]["path"] == path
    debugger.go_on()
    assert kernel.collect(cell).result == "42"


def test_stepping_from_a_cell_into_a_file(kernel, debugger, tmp_path):
    module_file(tmp_path, "stepped_into", "def g(x):\n    return x\n")
    kernel.execute_ok(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport stepped_into")
    cell = debugger.run("stepped_into.g(1)", 1)
    debugger.stops("breakpoint")
    debugger.do("stepIn", threadId=1)
    assert where(debugger.stops("step")) == [("g", 2), ("<module>", 1)]
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


def test_breakpoints_are_remembered_and_removed(kernel, debugger):
    path = debugger.dump(FUNCTION)
    debugger.break_at(path, 2, 3)
    assert debugger.do("debugInfo")["breakpoints"] == [
        {"source": path, "breakpoints": [{"line": 2}, {"line": 3}]}
    ]
    debugger.break_at(path)
    assert kernel.execute_ok(FUNCTION).stdout == "before\nafter\n"


def test_a_conditional_breakpoint(kernel, debugger):
    code = "seen = []\nfor i in range(10):\n    seen.append(i)\n"
    path = debugger.dump(code)
    debugger.do("setBreakpoints", source={"path": path}, breakpoints=[{"line": 3, "condition": "i == 7"}])
    cell = kernel.start(code)
    (frame,) = debugger.stops("breakpoint")
    assert debugger.evaluate("i", frame) == "7"
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


def test_a_breakpoint_set_while_another_holds(kernel, debugger):
    cell = debugger.run(FUNCTION, 2)
    debugger.stops("breakpoint")
    debugger.break_at(debugger.dump(FUNCTION), 2, 4)
    debugger.go_on()
    assert where(debugger.stops("breakpoint"))[0] == ("f", 4)
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


def test_a_breakpoint_in_a_cell_that_awaits(kernel, debugger):
    code = "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 5\nawait f()"
    cell = debugger.run(code, 4)
    assert where(debugger.stops("breakpoint"))[0] == ("f", 4)
    debugger.go_on()
    assert kernel.collect(cell).result == "5"


def test_a_breakpoint_in_a_thread(kernel, debugger):
    code = "import threading\ndef work():\n    done.append(1)\ndone = []\nt = threading.Thread(target=work)\nt.start()\nt.join()\n"
    cell = debugger.run(code, 3)
    body = debugger.event("stopped")
    frames = debugger.do("stackTrace", threadId=body["threadId"])["stackFrames"]
    assert where(frames)[0] == ("work", 3)
    debugger.do("continue", threadId=body["threadId"])
    assert kernel.collect(cell).status == "ok"


@ours
def test_child_processes_run_as_without_a_debugger(kernel, debugger):
    code = (
        "import multiprocessing, subprocess, sys\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(double, [1, 2]))\n"
        "print(subprocess.run([sys.executable, '-c', 'print(3)'], stdout=subprocess.PIPE, text=True).stdout)\n"
        "double(1)\n"
    )
    cell = debugger.run(code, 3)
    assert where(debugger.stops("breakpoint")) == [("double", 3), ("<module>", 7)]
    kernel.wait_for_stream(cell, "[2, 4]\n3\n")
    debugger.go_on()
    assert kernel.collect(cell).result == "2"


def test_a_running_cell_is_paused(kernel, debugger):
    cell = kernel.start("print('running', flush=True)\nwait = True\nwhile wait:\n    pass\n")
    kernel.wait_for_stream(cell, "running\n")
    debugger.do("pause", threadId=1)
    frames = debugger.stops("pause")
    assert frames[0]["name"] == "<module>"
    debugger.evaluate("wait = False", frames[0])
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


def test_a_stop_at_an_exception(kernel, debugger):
    debugger.do("setExceptionBreakpoints", filters=["raised"])
    code = "def f():\n    raise ValueError('seen')\ntry:\n    f()\nexcept ValueError:\n    pass\n"
    debugger.dump(code)
    cell = kernel.start(code)
    assert where(debugger.stops("exception")) == [("f", 2), ("<module>", 4)]
    debugger.do("setExceptionBreakpoints", filters=[])
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


def test_libraries_are_entered_or_not(kernel, idle):
    """`justMyCode` decides. The library must not be one that the kernel itself has loaded."""
    code = "import graphlib\ngraphlib.TopologicalSorter()\ndone = True\n"
    for just_my_code, expected in ((False, ("__init__", "<module>")), (True, ("<module>",))):
        idle.start(justMyCode=just_my_code)
        cell = idle.run(code, 2)
        idle.stops("breakpoint")
        idle.do("stepIn", threadId=1)
        assert tuple(name for name, _ in where(idle.stops("step"))) == expected
        idle.stop()
        assert kernel.collect(cell).status == "ok"
    idle.drop_events()


# ---------------------------------------------------------------------- variables


def test_variables_while_nothing_is_stopped(kernel, debugger):
    kernel.execute_ok("number, words, table = 7, ['one', 'two'], {'key': [1, 2]}")
    listed = debugger.do("inspectVariables")["variables"]
    seen = {variable["name"]: variable for variable in listed}
    assert (seen["number"]["value"], seen["number"]["type"]) == ("7", "int")
    assert seen["number"]["variablesReference"] == 0
    assert not {"In", "Out", "get_ipython", "exit", "_i1", "_oh", "__name__"} & set(seen)
    inside = debugger.variables(seen["words"]["variablesReference"])
    assert (inside["0"]["value"], inside["1"]["value"]) == ("'one'", "'two'")
    below = debugger.variables(seen["table"]["variablesReference"])["'key'"]
    assert debugger.variables(below["variablesReference"])["1"]["value"] == "2"


def test_the_rich_form_of_a_variable(kernel, debugger):
    kernel.execute_ok("from IPython.display import HTML\npage, number = HTML('<b>bold</b>'), 5")
    assert debugger.do("richInspectVariables", variableName="number") == {
        "data": {"text/plain": "5"},
        "metadata": {},
    }
    body = debugger.do("richInspectVariables", variableName="page")
    assert body["data"]["text/html"] == "<b>bold</b>"
    assert debugger.do("richInspectVariables", variableName="absent") == {"data": {}, "metadata": {}}
    assert debugger.ask("richInspectVariables", variableName="no name")["success"] is False


LOCAL = "from IPython.display import HTML\ndef f():\n    page, word = HTML('<i>local</i>'), 'it\\'s'\n    return page\nf();\n"


def test_the_rich_form_of_a_local_variable(kernel, debugger):
    cell = debugger.run(LOCAL, 4)
    frame = debugger.stops("breakpoint")[0]
    body = debugger.do("richInspectVariables", variableName="page", frameId=frame["id"])
    assert body["data"]["text/html"] == "<i>local</i>"
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_the_rich_form_of_awkward_local_variables(kernel, debugger):
    cell = debugger.run(LOCAL, 4)
    frame = debugger.stops("breakpoint")[0]
    body = debugger.do("richInspectVariables", variableName="word", frameId=frame["id"])
    assert body["data"] == {"text/plain": '"it\'s"'}
    body = debugger.do("richInspectVariables", variableName="absent", frameId=frame["id"])
    assert body == {"data": {}, "metadata": {}}
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_an_image_is_base64_in_its_rich_form(kernel, debugger):
    kernel.execute_ok("class Picture:\n    def _repr_png_(self): return b'\\x89PNG'\npicture = Picture()")
    body = debugger.do("richInspectVariables", variableName="picture")
    assert body["data"]["image/png"] == "iVBORw=="
    cell = debugger.run("def f(p):\n    return 1\nf(picture);", 2)
    frame = debugger.stops("breakpoint")[0]
    body = debugger.do("richInspectVariables", variableName="p", frameId=frame["id"])
    assert body["data"]["image/png"] == "iVBORw=="
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_what_was_inspected_is_not_kept_alive(kernel, debugger):
    kernel.execute_ok(
        "import gc, weakref\nclass Thing: pass\nthings = [Thing()]\nref = weakref.ref(things[0])"
    )
    seen = {each["name"]: each for each in debugger.do("inspectVariables")["variables"]}
    debugger.variables(seen["things"]["variablesReference"])
    kernel.execute_ok("del things; gc.collect();")
    assert kernel.evaluate("ref() is None") is True
    content = debugger.ask("variables", variablesReference=seen["things"]["variablesReference"])
    assert content["success"] is False and "gone" in content["message"]


def test_a_local_variable_is_copied_to_the_globals(kernel, debugger):
    cell = debugger.run("def f():\n    local = [1, 2]\n    return local\nf();", 3)
    frame = debugger.stops("breakpoint")[0]
    debugger.do("copyToGlobals", srcVariableName="local", dstVariableName="copied", srcFrameId=frame["id"])
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"
    assert kernel.evaluate("copied") == [1, 2]


def test_what_is_no_name_is_not_copied(debugger):
    content = debugger.ask(
        "copyToGlobals", srcVariableName="a", dstVariableName="x'] or globals()['y", srcFrameId=0
    )
    assert content["success"] is False


def test_a_variable_is_changed_while_its_function_stands(kernel, debugger):
    cell = debugger.run("def f():\n    x = 1\n    return x\nf()", 3)
    frame = debugger.stops("breakpoint")[0]
    reference = debugger.scope("Locals", frame)
    debugger.do("setVariable", variablesReference=reference, name="x", value="99")
    debugger.go_on()
    assert kernel.collect(cell).result == "99"


def test_modules(kernel, debugger):
    body = debugger.do("modules")
    assert body["totalModules"] >= len(body["modules"]) > 50
    paths = {module["name"]: module["path"] for module in body["modules"]}
    assert paths["json.decoder"].endswith("/json/decoder.py")
    assert all(path.endswith(".py") for path in paths.values())


def test_names_of_the_notebook_are_left_alone(kernel, debugger):
    """What the debugger needs of Python a cell may have hidden."""
    kernel.execute_ok("get_ipython_, get_ipython = get_ipython, None\nhidden = 5")
    assert "hidden" in {each["name"] for each in debugger.do("inspectVariables")["variables"]}
    kernel.execute_ok("get_ipython = get_ipython_; del get_ipython_")


# ---------------------------------------------------------------------- beginning and end


def test_a_session_ends_and_another_begins(kernel, idle):
    for _ in range(3):
        idle.start()
        assert idle.do("debugInfo")["isStarted"] is True
        cell = idle.run(FUNCTION, 3)
        assert where(idle.stops("breakpoint"))[0] == ("f", 3)
        idle.go_on()
        assert kernel.collect(cell).status == "ok"
        idle.stop()
        info = idle.do("debugInfo")
        assert (info["isStarted"], info["breakpoints"]) == (False, [])
        assert kernel.execute_ok(FUNCTION).stdout == "before\nafter\n"


@ours
def test_a_session_begins_while_debugpy_still_ends_the_one_before(start_kernel, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if '--for-server' in sys.orig_argv:\n"  # debugpy's adapter
        "    import time\n"
        "    from debugpy.adapter.components import Component\n"
        "    disconnect = Component.disconnect\n"
        "    def slowly(self):\n"
        f"        open({str(tmp_path / 'slow')!r}, 'w').close()\n"
        "        time.sleep(0.5)\n"
        "        disconnect(self)\n"
        "    Component.disconnect = slowly\n"
    )
    kernel = start_kernel(env={"PYTHONPATH": str(tmp_path)})
    client = Client(kernel)
    for _ in range(3):
        client.start()
        cell = client.run(FUNCTION, 2)
        client.stops("breakpoint")
        client.go_on()
        assert kernel.collect(cell).status == "ok"
        client.stop()
    assert (tmp_path / "slow").exists()
    client.drop_events()


def test_the_end_of_a_session_lets_the_cell_go_on(kernel, idle):
    idle.start()
    cell = idle.run(FUNCTION, 2)
    idle.stops("breakpoint")
    idle.stop()
    assert kernel.collect(cell).status == "ok"
    assert idle.do("debugInfo")["stoppedThreads"] == []


def test_empty_lines_are_cut_again_after_the_session(kernel, idle):
    idle.start()
    idle.stop()
    kernel.execute_ok("\n\n%matplotlib --list")  # a magic is one only in the first line


def test_a_restart_ends_the_session(start_kernel):
    kernel = start_kernel()
    client = Client(kernel)
    client.start()
    cell = client.run(FUNCTION, 2)
    client.stops("breakpoint")
    begin = time.monotonic()
    kernel.restart()
    assert time.monotonic() - begin < 20
    assert not kernel.unread["iopub"] and cell
    client = Client(kernel)
    assert client.do("debugInfo")["isStarted"] is False
    client.start()
    cell = client.run(FUNCTION, 2)
    client.stops("breakpoint")
    client.go_on()
    assert kernel.collect(cell).status == "ok"
    client.stop()
    client.drop_events()


@ours
def test_the_kernel_ends_while_a_cell_stands(start_kernel):
    kernel = start_kernel()
    client = Client(kernel)
    client.start()
    client.run(FUNCTION, 2)
    client.stops("breakpoint")
    begin = time.monotonic()
    kernel.shut_down()
    kernel.assert_all_gone()
    assert time.monotonic() - begin < 5
    kernel.kill()


@ours
def test_a_debugger_may_be_started_while_a_cell_runs(kernel, idle):
    cell = kernel.start("print('running', flush=True)\ngo = False\nwhile not go:\n    pass\n")
    kernel.wait_for_stream(cell, "running\n")
    idle.start()
    assert idle.do("debugInfo")["isStarted"] is True
    idle.do("evaluate", expression="1 + 1", context="repl")
    kernel.interrupt_by_message()
    assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    cell = idle.run(FUNCTION, 2)
    idle.stops("breakpoint")
    idle.go_on()
    assert kernel.collect(cell).status == "ok"
    idle.stop()
    idle.drop_events()


@ours
def test_an_interrupt_ends_a_cell_that_stands(kernel, debugger):
    cell = debugger.run("import time\nfor i in range(3):\n    time.sleep(0)\n", 3)
    debugger.stops("breakpoint")
    kernel.interrupt_by_message()
    done = kernel.collect(cell)
    assert (done.status, done.content["ename"]) == ("error", "KeyboardInterrupt")
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"
    debugger.drop_events()
    cell = debugger.run(FUNCTION, 2)
    assert where(debugger.stops("breakpoint"))[0] == ("f", 2)
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_an_interrupt_in_a_loop_of_breakpoints(kernel, debugger):
    for _ in range(5):
        cell = debugger.run("i = 0\nwhile True:\n    i += 1\n", 3)
        debugger.stops("breakpoint")
        kernel.interrupt_by_message()
        assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
        debugger.drop_events()


@ours
def test_two_interrupts_at_once_of_a_cell_that_stands(kernel, debugger):
    """The second comes while the first is being handled."""
    for _ in range(5):
        cell = debugger.run(FUNCTION, 2)
        debugger.stops("breakpoint")
        asked = [kernel.send("control", "interrupt_request") for _ in range(10)]
        assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
        for request in asked:
            assert kernel.collect(request).content == {"status": "ok"}
        debugger.drop_events()
    cell = debugger.run(FUNCTION, 2)
    assert where(debugger.stops("breakpoint"))[0] == ("f", 2)
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_a_cell_that_ends_tracing_ends_it_for_itself(kernel, debugger):
    kernel.execute_ok("import sys; sys.settrace(None)")
    cell = debugger.run(FUNCTION, 2)
    assert where(debugger.stops("breakpoint"))[0] == ("f", 2)
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_an_interrupt_ends_an_evaluation(kernel, debugger):
    cell = debugger.run(FUNCTION, 2)
    frame = debugger.stops("breakpoint")[0]
    loop = "print('turning', flush=True) or [i for i in iter(int, 1)]"
    request = debugger.send("evaluate", expression=loop, frameId=frame["id"], context="repl")
    kernel.wait_for_stream(cell, "turning\n")
    kernel.interrupt_by_message()
    assert debugger.collect(request)["success"] is False
    assert debugger.evaluate("a", frame) == "2"
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_the_interpreter_dies_while_a_cell_stands(start_kernel):
    kernel = start_kernel()
    client = Client(kernel)
    client.start()
    cell = client.run("import os\nos._exit(3)\n", 2)
    client.stops("breakpoint")
    client.ask("continue", threadId=1)  # answered or not, as the end comes before the answer or after it
    assert kernel.collect(cell).content["ename"] == "InterpreterDied"
    client.event("terminated")
    assert client.do("debugInfo")["isStarted"] is False
    client.start()
    cell = client.run(FUNCTION, 2)
    client.stops("breakpoint")
    client.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_requests_in_the_air_are_answered_when_the_interpreter_dies(start_kernel):
    kernel = start_kernel()
    client = Client(kernel)
    client.start()
    asked = [client.send("evaluate", expression="__import__('os')._exit(3)", context="repl")]
    asked += [client.send("debugInfo")]
    first, second = (client.collect(request) for request in asked)
    assert (first["success"], first["ename"]) == (False, "InterpreterDied")
    assert second["success"] is True and second["body"]["isStarted"] is False
    kernel.execute_ok("1")


@ours
def test_debugpy_has_ended(start_kernel):
    kernel = start_kernel()
    client = Client(kernel)
    client.start()
    kernel.execute_ok("import pydevd\npydevd.get_global_debugger().dispose_and_kill_all_pydevd_threads()")
    client.stop()
    for _ in range(2):
        content = client.ask("initialize")
        assert content["success"] is False and "restart the kernel" in content["message"]
        assert client.do("debugInfo")["isStarted"] is False
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"
    client.drop_events()


@ours
def test_the_front_answers_while_a_debug_request_waits(kernel, debugger):
    """A cell that keeps the GIL keeps the debugger too, and nobody else."""
    cell = kernel.start("import re\nprint('running', flush=True)\nre.match(r'(a+)+b', 'a' * 26)\n")
    kernel.wait_for_stream(cell, "running\n")
    request = debugger.send("debugInfo")
    kernel.request("control", "kernel_info_request")
    assert debugger.collect(request)["success"] is True
    assert kernel.collect(cell).status == "ok"


FLOODS = {
    "text": "n = 0\nwhile True:\n    n += 1\n    print(n)",
    "long text": "while True: print('x' * 10_000)",
    "displays": "n = 0\nwhile True:\n    n += 1\n    display(n)",
    "both outputs": "import sys\nn = 0\nwhile True:\n    n += 1\n    print(n)\n    print(n, file=sys.stderr)",
}


@ours
@pytest.mark.parametrize("code", FLOODS.values(), ids=FLOODS)
def test_debug_requests_are_answered_in_a_flood_of_output_that_the_client_does_not_read(start_kernel, code):
    kernel = start_kernel()
    client = Client(kernel)
    client.start()
    kernel.poller.unregister(kernel.sockets["iopub"])
    kernel.start(code)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        request = client.send("debugInfo")
        reply = kernel.take("control", request.is_parent_of, "debug_reply", timeout=15)
        assert reply.content["success"] is True
    kernel.kill()


# ---------------------------------------------------------------------- without debugpy


@ours
def test_without_debugpy(start_kernel, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'debugpy':\n"
        "            raise ModuleNotFoundError(\"No module named 'debugpy'\", name=name)\n"
        "sys.meta_path.insert(0, Absent)\n"
    )
    kernel = start_kernel(env={"PYTHONPATH": str(tmp_path)})
    content = kernel.request("control", "kernel_info_request").content
    assert "debugger" not in content["supported_features"] and content["debugger"] is False
    client = Client(kernel)
    for command in ("debugInfo", "initialize", "inspectVariables"):
        reply = client.ask(command)
        assert reply["success"] is False and reply["status"] == "error"
        assert "debugpy is not installed" in reply["message"] and "pip install debugpy" in reply["message"]
    kernel.execute_ok("1")


# ---------------------------------------------------------------------- requests that no honest front end sends


BAD_CONTENT = {
    "nothing": b"{}",
    "a list": b"[]",
    "null": b"null",
    "no JSON": b"{nonsense",
    "empty": b"",
    "nested too deep": b"[" * 100_000,
    "no command": b'{"type": "request", "seq": 1, "arguments": {}}',
    "a command that is a number": b'{"type": "request", "seq": 1, "command": 5}',
    "a command with a name of ours": b'{"type": "request", "seq": 1, "command": "_start"}',
    "no seq": b'{"type": "request", "command": "debugInfo"}',
    "a seq that is a text": b'{"type": "request", "seq": "1", "command": "debugInfo"}',
    "arguments that are a list": b'{"type": "request", "seq": 1, "command": "dumpCell", "arguments": [1]}',
    "another type": b'{"type": "event", "seq": 1, "command": "debugInfo"}',
}


@ours
@pytest.mark.parametrize("started", [False, True], ids=["not started", "started"])
@pytest.mark.parametrize("name", BAD_CONTENT)
def test_malformed_content_is_an_error_reply(kernel, idle, name, started):
    if started:
        idle.start()
    content = kernel.request("control", "debug_request", {}, raw_content=BAD_CONTENT[name]).content
    assert content["success"] is False and content["message"]
    assert idle.do("debugInfo")["isStarted"] is started
    if started:
        idle.stop()


BAD_REQUESTS = {
    "unknown": ("noSuchCommand", {}),
    "dumpCell without code": ("dumpCell", {}),
    "dumpCell of a number": ("dumpCell", {"code": 5}),
    "setBreakpoints without a source": ("setBreakpoints", {"breakpoints": []}),
    "setBreakpoints of a text": ("setBreakpoints", {"source": "x", "breakpoints": "y"}),
    "setBreakpoints without lines": ("setBreakpoints", {"source": {"path": "/x.py"}, "breakpoints": [{}]}),
    "source without a path": ("source", {"source": {}}),
    "richInspectVariables without a name": ("richInspectVariables", {}),
    "copyToGlobals without anything": ("copyToGlobals", {}),
    "variables without a reference": ("variables", {}),
    "variables with a wrong reference": ("variables", {"variablesReference": 10**12}),
    "stackTrace of no thread": ("stackTrace", {"threadId": 10**9}),  # debugpy counts them up
    "scopes of no frame": ("scopes", {"frameId": 10**9}),
    "evaluate without an expression": ("evaluate", {}),
    "evaluate nonsense": ("evaluate", {"expression": "1 +", "context": "repl"}),
    "attach twice": ("attach", {}),
    "continue where nothing stands": ("continue", {"threadId": 1}),
    "exceptionInfo where nothing stands": ("exceptionInfo", {"threadId": 1}),
    "what debugpy does not know": ("loadedSources", {}),
    "what an adapter asks": ("runInTerminal", {}),
}


@ours
@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_an_error_reply(kernel, debugger, name):
    command, arguments = BAD_REQUESTS[name]
    content = debugger.ask(command, **arguments)
    assert content["success"] is False and content["message"], content
    cell = debugger.run(FUNCTION, 2)
    debugger.stops("breakpoint")
    debugger.go_on()
    assert kernel.collect(cell).status == "ok"


@ours
def test_requests_before_the_start_are_error_replies(idle):
    for command in (
        "stackTrace",
        "setBreakpoints",
        "attach",
        "configurationDone",
        "evaluate",
        "noSuchCommand",
    ):
        arguments = {"source": {"path": "/x.py"}, "breakpoints": []} if command == "setBreakpoints" else {}
        content = idle.ask(command, **arguments)
        assert content["success"] is False and "initialize" in content["message"]
    idle.stop()  # what is not running is stopped already


@ours
def test_a_bad_attach_is_an_error_reply(kernel, idle):
    assert idle.do("initialize")
    content = idle.ask("attach", justMyCode="perhaps")
    assert content["success"] is False and content["message"]
    idle.stop()
    idle.start()
    idle.stop()
    idle.drop_events()


def test_huge_requests(kernel, debugger):
    code = "x = 1\n" + "# " + "é" * 500_000 + "\nx = 3\n"
    path = debugger.dump(code)
    kernel.execute_ok(code)
    assert debugger.do("source", source={"path": path})["content"] == code
    assert debugger.do("evaluate", expression=f"len({'7' * 100_000!r})", context="repl")["result"] == "100000"


def test_many_requests_at_once_are_answered_in_turn(kernel, debugger):
    requests = [debugger.send("debugInfo") for _ in range(200)]
    for request in requests:
        assert debugger.collect(request)["success"] is True


@ours
def test_a_cell_that_closes_the_debuggers_descriptor(start_kernel):
    kernel = start_kernel()
    client = Client(kernel)
    client.start()
    kernel.execute_ok("import os\nos.close(6)")
    for _ in range(2):
        content = client.ask("debugInfo")
        assert content["success"] is False and "restart the kernel" in content["message"]
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"
