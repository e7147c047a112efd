"""What libraries look at to find out where they run, and what they call when they think that they know."""

import re

import pytest

ours = pytest.mark.ours


# --- detection: each line is the code of a library, reduced to its question

DETECTIONS = {
    "rich": "get_ipython().__class__.__name__ == 'ZMQInteractiveShell'",
    "huggingface_hub": "any(c.__name__ == 'ZMQInteractiveShell' for c in type(get_ipython()).__mro__)",
    "plotly": "type(get_ipython()).__module__.startswith('ipykernel.')",
    "pandas": "'zmq' in str(type(get_ipython())).lower()",
    "pandas console": "hasattr(get_ipython(), 'kernel')",
    "tqdm.auto": "'ipykernel.zmqshell' in __import__('sys').modules",
    "transformers": "'IPKernelApp' in get_ipython().config",
    "distributed": "get_ipython().kernel is not None",
    "old keras": "'ipykernel' in __import__('sys').modules",
    "lightning": "hasattr(__import__('sys'), 'ps1') or 'IPython' in __import__('sys').modules",
    "wandb": "'language' in get_ipython().kernel.language_info or 'name' in get_ipython().kernel.language_info",
    "one shell": "get_ipython() is type(get_ipython()).instance() is get_ipython().kernel.shell",
    "the module of the class": "__import__('sys').modules[type(get_ipython()).__module__] is not None",
    "user_ns": "get_ipython().kernel.shell.user_ns is globals()",
}


@pytest.mark.parametrize("library", DETECTIONS)
def test_a_library_sees_a_notebook_kernel(kernel, library):
    assert kernel.evaluate(f"bool({DETECTIONS[library]})") is True


def test_the_connection_file_is_in_the_configuration(kernel):
    told = kernel.evaluate("get_ipython().config['IPKernelApp']['connection_file']")
    assert told == kernel.manager.connection_file


def test_ipykernel_connect_names_the_connection_file(kernel):
    kernel.execute_ok("from ipykernel.connect import get_connection_file, get_connection_info")
    assert kernel.evaluate("get_connection_file()") == kernel.manager.connection_file
    told = kernel.evaluate("get_connection_info(unpack=True)")
    assert told["shell_port"] == kernel.manager.shell_port
    assert told["key"] == kernel.key


def test_pandas_shows_a_table(kernel):
    (result,) = kernel.execute_ok("import pandas as pd\npd.DataFrame({'a': [1]})").of("execute_result")
    assert "<table" in result.content["data"]["text/html"]


def test_polars_shows_a_table(kernel):
    (result,) = kernel.execute_ok("import polars as pl\npl.DataFrame({'a': [1]})").of("execute_result")
    assert "<table" in result.content["data"]["text/html"]


# --- the kernel's facade

FACADE = {
    "the parent request": "get_ipython().get_parent()['header']['msg_id']",
    "the kernel's parent request": "get_ipython().kernel.get_parent()['header']['msg_id']",
    "the old name of it": "get_ipython().kernel._parent_header['header']['msg_id']",
}


@pytest.mark.parametrize("name", FACADE)
def test_a_cell_finds_its_request(kernel, name):
    exchange = kernel.execute_ok(FACADE[name])
    assert exchange.result == repr(exchange.request.id)


def test_the_kernel_has_what_public_code_touches(kernel):
    names = [
        "shell",
        "comm_manager",
        "session",
        "iopub_socket",
        "_parent_ident",
        "eventloop",
    ]
    names += ["implementation", "language_info", "send_response", "execution_count", "get_parent"]
    assert kernel.evaluate(f"[n for n in {names} if not hasattr(get_ipython().kernel, n)]") == []
    assert kernel.evaluate("get_ipython().kernel.implementation") in ("ipython", "rust-hygiene")
    assert kernel.evaluate("get_ipython().kernel.language_info['name']") == "python"
    assert kernel.evaluate("get_ipython().kernel.session.key") == kernel.key


@ours
def test_an_old_event_loop_hook_may_be_called(kernel):
    """Progress bars of old libraries call it; ipykernel 7 has lost it."""
    assert kernel.execute_ok("get_ipython().kernel.do_one_iteration()").status == "ok"


def test_the_shell_has_what_public_code_touches(kernel):
    names = [
        "set_parent",
        "get_parent",
        "payload_manager",
        "set_next_input",
        "ask_exit",
        "kernel",
        "enable_gui",
    ]
    names += ["display_pub", "displayhook", "events", "showtraceback", "execution_count", "history_manager"]
    assert kernel.evaluate(f"[n for n in {names} if not hasattr(get_ipython(), n)]") == []


def test_send_response_publishes_with_the_cell_as_parent(kernel):
    code = "k = get_ipython().kernel\n_ = k.send_response(k.iopub_socket, 'stream', {'name': 'stdout', 'text': 'sent'})"
    assert kernel.execute_ok(code).stdout == "sent"


def test_set_parent_moves_output_to_another_request(kernel):
    """As ipywidgets' Output and dashboards do it from a thread or a callback."""
    first = kernel.execute_ok("parent = get_ipython().get_parent()")
    code = (
        "ip = get_ipython(); now = ip.get_parent()\n"
        "ip.set_parent(parent)\ndisplay('moved')\nip.set_parent(now)\ndisplay('here')"
    )
    second = kernel.execute_ok(code)
    moved = kernel.recv("iopub", "display_data")
    assert moved.parent_header == first.request.header
    assert moved.content["data"]["text/plain"] == "'moved'"
    assert [m.content["data"]["text/plain"] for m in second.of("display_data")] == ["'here'"]


# --- streams

STREAM = "__import__('sys').stdout"


def test_stdout_is_a_text_file_that_is_no_terminal(kernel):
    assert kernel.evaluate(f"isinstance({STREAM}, __import__('io').TextIOBase)") is True
    assert kernel.evaluate(f"({STREAM}.encoding.lower(), {STREAM}.isatty(), {STREAM}.writable())") == (
        "utf-8",
        False,
        True,
    )
    assert kernel.evaluate(f"({STREAM}.name, {STREAM}.closed)") == ("stdout", False)
    assert kernel.evaluate("__import__('sys').stderr.name") == "stderr"


def test_stdout_has_a_descriptor(kernel):
    assert kernel.evaluate(f"isinstance({STREAM}.fileno(), int)") is True


@ours
def test_the_descriptor_of_stdout_can_be_given_away(kernel):
    """ipykernel's leads to the terminal of the server."""
    code = "import subprocess, sys; _ = subprocess.run(['echo', 'given'], stdout=sys.stdout)"
    assert kernel.execute_ok(code).stdout == "given\n"


def test_writing_bytes_or_numbers_to_stdout_is_a_type_error(kernel):
    for wrong in ("b'bytes'", "5", "None"):
        assert kernel.execute(f"import sys; sys.stdout.write({wrong})").content["ename"] == "TypeError"


def test_writing_tells_the_number_of_characters(kernel):
    assert kernel.execute_ok("import sys; sys.stdout.write('é\\n')").result == "2"


def test_writelines_and_print_to_a_file_work(kernel):
    code = "import sys; sys.stdout.writelines(['a', 'b']); print('c', file=sys.stdout, end='', flush=True)"
    assert kernel.execute_ok(code).stdout == "abc"


def test_faulthandler_can_be_enabled(kernel):
    assert kernel.execute_ok("import faulthandler; faulthandler.enable()").status == "ok"


def test_the_environment_is_that_of_a_notebook(kernel):
    kernel.execute_ok("import os")
    assert kernel.evaluate("os.environ.get('MPLBACKEND')") == "module://matplotlib_inline.backend_inline"
    assert kernel.evaluate("os.environ.get('PAGER')") == "cat"
    assert kernel.evaluate("os.environ.get('CLICOLOR')") == "1"
    assert kernel.evaluate("os.environ.get('TERM')") == "xterm-color"


def test_the_main_module_is_the_users(kernel):
    assert kernel.evaluate("__name__") == "__main__"
    assert kernel.evaluate("__import__('__main__').__dict__ is globals()") is True
    assert kernel.evaluate("'' in __import__('sys').path") is True


def test_objects_of_a_cell_can_be_pickled(kernel):
    kernel.execute_ok("import pickle\nclass Point:\n    pass")
    assert kernel.evaluate("type(pickle.loads(pickle.dumps(Point()))) is Point") is True


# --- cells as files


def test_a_cell_has_a_file_name_that_numba_and_joblib_know(kernel):
    kernel.execute_ok("def of_a_cell(): pass")
    name = kernel.evaluate("of_a_cell.__code__.co_filename")
    pid = kernel.evaluate("__import__('os').getpid()")
    folder = kernel.evaluate("__import__('tempfile').gettempdir()")
    assert re.fullmatch(rf"{re.escape(folder)}/ipykernel_{pid}/\d+\.py", name)


def test_the_same_code_has_the_same_file_name(kernel):
    names = []
    for code in ("same = lambda: 1", "same = lambda: 2", "same = lambda: 1"):
        kernel.execute_ok(code)
        names.append(kernel.evaluate("same.__code__.co_filename"))
    assert names[0] == names[2] != names[1]


def test_the_source_of_a_cell_can_be_read_back(kernel):
    kernel.execute_ok("import inspect\ndef readable():\n    return 'its source'")
    assert "its source" in kernel.evaluate("inspect.getsource(readable)")


def test_a_traceback_shows_the_lines_of_an_earlier_cell(kernel):
    kernel.execute_ok(
        "def breaks_later():\n    marker = 'the line in the earlier cell'\n    raise ValueError(marker)"
    )
    exchange = kernel.execute("breaks_later()")
    assert "raise ValueError(marker)" in re.sub(r"\x1b\[[0-9;]*m", "", "".join(exchange.content["traceback"]))


# --- hooks


def test_a_display_hook_may_change_or_swallow_a_message(kernel):
    code = """
seen = []
def hook(message):
    seen.append(message['header']['msg_type'])
    return None if 'swallow' in str(message['content']['data']) else message
pub = get_ipython().display_pub
pub.register_hook(hook)
display('swallow me')
display('keep me')
pub.unregister_hook(hook)
display('swallow nothing')
"""
    shown = [m.content["data"]["text/plain"] for m in kernel.execute_ok(code).of("display_data")]
    assert shown == ["'keep me'", "'swallow nothing'"]
    assert kernel.evaluate("seen") == ["display_data", "display_data"]


def test_events_of_ipython_fire(kernel):
    code = "fired = []\nfor name in ('pre_execute', 'pre_run_cell', 'post_execute', 'post_run_cell'):\n"
    code += "    get_ipython().events.register(name, lambda *_, name=name: fired.append(name))"
    kernel.execute_ok(code)
    kernel.execute_ok("pass")
    # The first two are of the cell that registers, and what follows the six is of this question.
    assert kernel.evaluate("fired[2:6]") == ["pre_execute", "pre_run_cell", "post_execute", "post_run_cell"]
    clean = "events = get_ipython().events.callbacks\n"
    clean += (
        "for name in ('pre_execute', 'pre_run_cell', 'post_execute', 'post_run_cell'): events[name].pop()"
    )
    kernel.execute_ok(clean)


def test_a_custom_exception_handler_is_used(kernel):
    code = "def handler(shell, etype, value, tb, tb_offset=None): print('handled', value)\n"
    code += "get_ipython().set_custom_exc((KeyError,), handler)"
    kernel.execute_ok(code)
    assert kernel.execute("raise KeyError('mine')").stdout == "handled 'mine'\n"
    kernel.execute_ok("get_ipython().set_custom_exc((), None)")


# --- ipykernel itself


@ours
def test_importing_ipykernel_after_us_takes_nothing_away(kernel):
    kernel.execute_ok("import ipykernel.ipkernel, ipykernel.comm, ipykernel.kernelbase")
    code = "from comm import create_comm\nc = create_comm('after', data={})\nc.close()"
    assert [m.type for m in kernel.execute_ok(code).of("comm_open", "comm_close")] == [
        "comm_open",
        "comm_close",
    ]


# --- without ipykernel, and without its names


ABSENT = """
import sys
class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "ipykernel":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
"""


@ours
def test_stand_ins_answer_where_ipykernel_is_not_installed(start_kernel, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    kernel = start_kernel(env={"PYTHONPATH": str(tmp_path)})
    kernel.execute_ok("import sys\nkernel = get_ipython().kernel")
    assert kernel.evaluate(
        "__import__('ipykernel.kernelapp').kernelapp.IPKernelApp.instance().kernel is kernel"
    )
    assert kernel.evaluate("__import__('ipykernel.kernelapp').kernelapp.IPKernelApp.initialized()")
    assert kernel.evaluate("__import__('ipykernel.kernelbase').kernelbase.Kernel.instance() is kernel")
    assert kernel.evaluate("isinstance(kernel, __import__('ipykernel.ipkernel').ipkernel.IPythonKernel)")
    assert kernel.evaluate("isinstance(sys.stdout, __import__('ipykernel.iostream').iostream.OutStream)")
    assert kernel.evaluate("__import__('ipykernel').__version__") == "7.0.0"
    missing = kernel.execute("import ipykernel.inprocess")
    assert missing.content["ename"] == "ModuleNotFoundError"


@ours
def test_no_name_is_borrowed_where_the_configuration_forbids_it(start_kernel):
    kernel = start_kernel(argv=lambda argv: [*argv, "--set", "ipykernel_names=false"])
    assert kernel.evaluate("type(get_ipython()).__module__") == "rust_hygiene_agent.shell"
    assert kernel.evaluate("type(get_ipython().kernel).__module__") == "rust_hygiene_agent.kernel"
    assert kernel.evaluate("'IPKernelApp' in get_ipython().config") is False
    modules = "[m for m in __import__('sys').modules if m.partition('.')[0] == 'ipykernel']"
    assert kernel.evaluate(modules) == []
    assert (
        kernel.evaluate(
            "isinstance(get_ipython().kernel, __import__('ipykernel.kernelbase').kernelbase.Kernel)"
        )
        is False
    )
