"""The limit of a cell's text: begin and end are shown, a notice says what is left out, and who wants every byte gets it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from frontend import FOREIGN, KERNEL, Frontend

pytestmark = pytest.mark.ours

MIB = 1 << 20
LEFT_OUT = re.compile(r"\[rust-hygiene: (\d+) bytes of this cell's text are left out here\. (.*)\]")
PAGE = {"JPY_SESSION_NAME": "/home/someone/notebook.ipynb"}


@pytest.fixture(scope="module")
def limited_kernel():
    """One whose limit is small: 48 KiB at the begin, 16 KiB at the end."""
    with Frontend(env={"RUST_HYGIENE_STREAM_LIMIT": "64 KiB"}) as kernel:
        yield kernel


def lines(count, word="line"):
    return "".join(f"{word} {n}\n" for n in range(count))


def check(exchange, printed, limit=64 << 10):
    """stdout is the begin and the end of what was printed, the notice between them says what is missing."""
    streams = [m.content for m in exchange.of("stream")]
    notice = next(at for at, content in enumerate(streams) if LEFT_OUT.search(content["text"]))
    begin, end = (
        "".join(content["text"] for content in part if content["name"] == "stdout")
        for part in (streams[:notice], streams[notice:])
    )
    assert printed.startswith(begin) and printed.endswith(end)
    assert begin.endswith("\n") and printed[: -len(end)].endswith("\n")
    assert len(begin) + len(end) <= limit and len(begin) > limit * 0.7 and len(end) > limit * 0.2
    left_out, advice = LEFT_OUT.search(exchange.stderr).groups()
    assert int(left_out) == len(printed) - len(begin) - len(end)
    assert "RUST_HYGIENE_STREAM_LIMIT=none" in advice and 'stream_limit = "none"' in advice


def test_of_a_cell_that_prints_much_begin_and_end_are_shown(limited_kernel):
    exchange = limited_kernel.execute_ok("for n in range(100_000): print('line', n)")
    check(exchange, lines(100_000))
    assert "16 KiB are shown when the cell ends; stream_limit is 64 KiB" in exchange.stderr


def test_the_end_comes_before_the_result_and_before_the_reply_is_idle(limited_kernel):
    exchange = limited_kernel.execute_ok("for n in range(100_000): print('line', n)\n'result'")
    assert exchange.outputs == ["stdout", "stderr", "stdout", "execute_result"]
    check(exchange, lines(100_000))


def test_the_end_comes_before_the_traceback(limited_kernel):
    exchange = limited_kernel.execute("for n in range(100_000): print('line', n)\n1 / 0")
    assert exchange.status == "error"
    assert exchange.outputs == ["stdout", "stderr", "stdout", "error"]
    check(exchange, lines(100_000))


def test_stdout_and_stderr_share_the_limit_and_keep_their_order(limited_kernel):
    code = "import sys\nfor n in range(6000):\n    print('o', n)\n    print('e', n, file=sys.stderr)"
    exchange = limited_kernel.execute_ok(code)
    text = "".join(m.content["text"] for m in exchange.of("stream"))
    (left_out,) = (int(number) for number, _ in LEFT_OUT.findall(text))
    begin, _, end = re.split(r"\n\[rust-hygiene: .*\]\n", text)
    printed = "".join(f"o {n}\ne {n}\n" for n in range(6000))
    assert printed.startswith(begin) and printed.endswith(end)
    assert len(begin) + left_out + len(end) == len(printed)
    assert exchange.outputs.count("stderr") > 100


def test_text_of_subprocesses_and_c_code_counts_too(limited_kernel):
    code = "import subprocess\nprint('first', flush=True)\nsubprocess.run(['seq', '100000'])\nprint('last')"
    exchange = limited_kernel.execute_ok(code)
    check(exchange, "first\n" + "".join(f"{n}\n" for n in range(1, 100_001)) + "last\n")


def test_text_of_a_thread_counts_too(limited_kernel):
    code = "import threading\ndef work():\n    for n in range(100_000): print('line', n)\n"
    code += "thread = threading.Thread(target=work); thread.start(); thread.join()"
    check(limited_kernel.execute_ok(code), lines(100_000))


def test_text_that_libraries_send_as_messages_counts_too(limited_kernel):
    code = (
        "ip = get_ipython()\nfor n in range(20_000):\n"
        "    ip.kernel.session.send(ip.kernel.iopub_socket, 'stream', {'name': 'stdout', 'text': f'line {n}\\n'},"
        " parent=ip.parent_header)"
    )
    check(limited_kernel.execute_ok(code), lines(20_000))


def test_a_subshell_has_a_limit_of_its_own(limited_kernel):
    subshell = limited_kernel.request("control", "create_subshell_request").content["subshell_id"]
    on = {"header": {"subshell_id": subshell}}
    check(limited_kernel.execute_ok("for n in range(100_000): print('line', n)", **on), lines(100_000))
    assert limited_kernel.execute_ok("print('little')").stdout == "little\n"
    limited_kernel.request("control", "delete_subshell_request", {"subshell_id": subshell})


def test_little_text_is_shown_as_it_comes(limited_kernel):
    exchange = limited_kernel.execute_ok("for n in range(1000): print('line', n)")
    assert exchange.stdout == lines(1000) and exchange.stderr == ""


def test_a_progress_bar_may_run_for_ever(limited_kernel):
    code = "import sys\nfor n in range(30_000): sys.stderr.write(f'\\r{n:6}/30000 [=====]')"
    exchange = limited_kernel.execute_ok(code)
    assert exchange.stderr == "".join(f"\r{n:6}/30000 [=====]" for n in range(30_000))


def test_clear_output_starts_the_count_anew(limited_kernel):
    code = """
from IPython.display import clear_output
for step in range(8):
    clear_output(wait=True)
    for n in range(2000): print('line', n)
"""
    exchange = limited_kernel.execute_ok(code)
    assert exchange.stdout == lines(2000) * 8 and exchange.stderr == ""


def test_captured_text_is_captured_whole(limited_kernel):
    limited_kernel.execute_ok("%%capture held\nfor n in range(100_000): print('line', n)")
    assert limited_kernel.execute_ok("len(held.stdout)").result == str(len(lines(100_000)))


def test_a_thread_that_outlives_its_cell_is_told_once_that_it_is_too_much(limited_kernel):
    code = """
import threading
go = threading.Event()
def work():
    go.wait()
    for n in range(20_000): print('late', n)
thread = threading.Thread(target=work); thread.start()
print('line\\n' * 8000)
"""
    limited_kernel.execute_ok(code)
    exchange = limited_kernel.execute_ok("go.set(); thread.join()")
    check(exchange, lines(20_000, "late"))


# --- who gets every byte

MANY = "for n in range(600_000): print('line', n, '-' * 50)"
ALL = "".join(f"line {n} {'-' * 50}\n" for n in range(600_000))


def test_a_script_gets_every_byte(start_kernel):
    """Whatever it says of its standard input."""
    kernel = start_kernel()
    assert kernel.execute_ok(MANY, allow_stdin=True).stdout == ALL


def test_on_a_page_a_person_gets_begin_and_end_and_a_program_gets_every_byte(start_kernel):
    kernel = start_kernel(env=PAGE)
    check(kernel.execute_ok(MANY, allow_stdin=True), ALL, limit=32 * MIB)
    assert kernel.execute_ok(MANY, allow_stdin=False).stdout == ALL


def test_a_person_can_lift_the_limit(start_kernel):
    kernel = start_kernel(env={**PAGE, "RUST_HYGIENE_STREAM_LIMIT": "none"})
    assert kernel.execute_ok(MANY, allow_stdin=True).stdout == ALL


def test_the_memory_held_is_that_of_the_end(start_kernel):
    """Half a GiB is printed; the front keeps the 8 MiB that it shows at the end."""
    kernel = start_kernel(env=PAGE)
    code = "import os\nfor n in range(512): os.write(1, b'x' * (1 << 20))"
    exchange = kernel.execute_ok(code, allow_stdin=True)
    assert len(exchange.stdout) <= 32 * MIB
    (left_out,) = LEFT_OUT.findall(exchange.stderr)
    assert int(left_out[0]) == 512 * MIB - len(exchange.stdout)
    status = Path(f"/proc/{kernel.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10
    assert peak < 200 * MIB


@pytest.mark.parametrize("tool", ["papermill", "nbconvert"])
def test_tools_that_are_called_in_a_notebook_get_every_byte(tmp_path, tool):
    """They inherit the variable by which a kernel knows that it serves a page."""
    spec = {"name": KERNEL, "display_name": KERNEL, "language": "python"}
    made = new_notebook(cells=[new_code_cell(MANY)], metadata={"kernelspec": spec})
    nbformat.write(made, tmp_path / "in.ipynb")
    arguments = {
        "papermill": ["papermill", "--no-progress-bar", "in.ipynb", "out.ipynb"],
        "nbconvert": ["jupyter", "nbconvert", "--execute", "--to", "notebook", "--output", "out", "in.ipynb"],
    }[tool]
    environment = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    environment |= {**PAGE, "XDG_CONFIG_HOME": str(tmp_path)}
    program = Path(sys.executable).parent / arguments[0]
    subprocess.run([program, *arguments[1:]], check=True, env=environment, cwd=tmp_path, timeout=300)
    (cell,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert "".join(output["text"] for output in cell.outputs) == ALL


def test_what_is_inherited_of_a_notebook_makes_no_page(start_kernel, tmp_path):
    """A script that is called in a notebook and starts a kernel: it answers questions, and is no page."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import os
from frontend import Frontend
name = os.environ["JPY_SESSION_NAME"]
with Frontend(env={{"JPY_SESSION_NAME": name}}) as kernel:
    assert len(kernel.execute_ok({MANY!r}, allow_stdin=True).stdout) == {len(ALL)}
"""
    environment = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        env={**environment, **PAGE},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
