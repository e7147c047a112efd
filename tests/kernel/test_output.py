"""Streams: complete, in order, byte for byte, whoever writes them."""

import time

import pytest

ours = pytest.mark.ours


def test_stdout_and_stderr_are_told_apart(kernel):
    exchange = kernel.execute_ok("import sys; print('out'); print('err', file=sys.stderr)")
    assert (exchange.stdout, exchange.stderr) == ("out\n", "err\n")


def test_prints_and_displays_keep_their_order(kernel):
    code = """
from IPython.display import clear_output
for i in range(20):
    print('p', i)
    display(i)
clear_output()
print('last')
"""
    exchange = kernel.execute_ok(code)
    assert exchange.outputs == ["stdout", "display_data"] * 20 + ["clear_output", "stdout"]
    assert [m.content["text"] for m in exchange.of("stream")] == [f"p {i}\n" for i in range(20)] + ["last\n"]


@ours
def test_thousands_of_prints_and_displays_keep_their_order(kernel):
    """Text and displays come on two ways; what is seldom wrong shows only here."""
    code = (
        "import sys\nfor i in range(4000):\n    print('before', i)\n    display(i)\n"
        "    print('after', i, file=(sys.stdout, sys.stderr)[i % 2])"
    )
    said = []
    for message in kernel.execute_ok(code).of("stream", "display_data"):
        content = message.content
        said += (
            content["text"].splitlines() if "text" in content else [f"shown {content['data']['text/plain']}"]
        )
    assert said == [f"{word} {i}" for i in range(4000) for word in ("before", "shown", "after")]


EVERY_WRITER = """
import ctypes, os, subprocess
libc = ctypes.CDLL(None)
for i in range(5):
    print(f'print {i}')
    os.write(1, f'write {i}\\n'.encode())
    subprocess.run(['echo', f'child {i}'])
    libc.printf(b'printf %d\\n', i)
    libc.fflush(None)
    display(i)
"""


@ours
def test_every_writer_of_stdout_keeps_its_place(kernel):
    exchange = kernel.execute_ok(EVERY_WRITER)
    said = []
    for message in exchange.of("stream", "display_data"):
        said.append(message.content["text"] if message.type == "stream" else "display\n")
    wanted = [f"print {i}\nwrite {i}\nchild {i}\nprintf {i}\ndisplay\n" for i in range(5)]
    assert "".join(said) == "".join(wanted)


@ours
def test_stdout_and_stderr_keep_their_order_between_prints(kernel):
    exchange = kernel.execute_ok(
        "import sys\nfor i in range(20):\n    print(i)\n    print(i, file=sys.stderr)"
    )
    assert [m.content["name"] for m in exchange.of("stream")] == ["stdout", "stderr"] * 20


def test_writes_to_the_descriptors_arrive_before_idle(kernel):
    """ipykernel reads its pipe in a thread, so its cell waits for that thread; ours needs no help."""
    settle = "import time; time.sleep(1)"
    exchange = kernel.execute_ok(
        f"import os; os.write(1, b'raw out\\n'); os.write(2, b'raw err\\n'); {settle}"
    )
    assert (exchange.stdout, exchange.stderr) == ("raw out\n", "raw err\n")


@ours
def test_writes_to_the_descriptors_need_no_time_to_arrive(kernel):
    for number in range(20):
        assert kernel.execute_ok(f"_ = os.write(1, b'{number}')" if number else "import os").stdout == (
            str(number) if number else ""
        )


@ours
def test_what_c_buffers_is_printed_with_the_cell(kernel):
    exchange = kernel.execute_ok("import ctypes; _ = ctypes.CDLL(None).printf(b'left in the C buffer')")
    assert exchange.stdout == "left in the C buffer"


FIFTY_MB = 50_000_000


def test_fifty_megabytes_in_one_write_arrive(kernel):
    stdout = kernel.execute_ok(f"print('x' * {FIFTY_MB})").stdout
    assert len(stdout) == FIFTY_MB + 1
    assert stdout == "x" * FIFTY_MB + "\n"


@ours
def test_fifty_megabytes_to_the_descriptor_arrive_while_the_gil_is_held(kernel):
    """ipykernel hangs here for good: the reader of its pipe is a thread that needs the GIL."""
    code = f"import ctypes; sent = ctypes.PyDLL(None).write(1, b'y' * {FIFTY_MB}, {FIFTY_MB})"
    assert kernel.execute_ok(code).stdout == "y" * FIFTY_MB
    assert kernel.evaluate("sent") == FIFTY_MB


def test_two_hundred_thousand_lines_arrive_byte_for_byte(kernel):
    stdout = kernel.execute_ok("for i in range(200_000): print(i)").stdout
    assert stdout == "".join(f"{i}\n" for i in range(200_000))


def test_lines_of_a_child_arrive_byte_for_byte(kernel):
    stdout = kernel.execute_ok("!seq 20000").stdout
    assert stdout.replace("\r", "") == "".join(f"{i}\n" for i in range(1, 20_001))


@pytest.mark.parametrize(
    "text",
    [
        "grüße 日本 \N{GRINNING FACE} e\u0301",
        "nul \0 bell \a delete \x7f",
        "\x1b[31mred\x1b[0m",
        "carriage\rreturn\b\b",
        "\u2028 \u2029 \ufeff",
        "",
    ],
    ids=["unicode", "control", "ansi", "carriage", "separators", "empty"],
)
def test_any_text_is_printed_as_it_is(kernel, text):
    assert kernel.execute_ok(f"print({text!r}, end='')").stdout == text


@ours
@pytest.mark.parametrize("text", ["\\ud800", "a\\udcffb", "\\udc80\\ud83d"])
def test_a_lone_surrogate_is_replaced_and_the_rest_is_kept(kernel, text):
    stdout = kernel.execute_ok(f"print('before'); print('{text}'); print('after')").stdout
    assert stdout.startswith("before\n") and stdout.endswith("\nafter\n")


@ours
def test_bytes_that_are_no_utf8_are_replaced_not_lost(kernel):
    stdout = kernel.execute_ok("import os; _ = os.write(1, b'a\\xff\\xfeb\\n')").stdout
    assert stdout[0] == "a" and stdout[-2:] == "b\n" and "\N{REPLACEMENT CHARACTER}" in stdout


@ours
def test_a_character_split_between_two_writes_stays_whole(kernel):
    code = "import os, time\nfor byte in '\N{GRINNING FACE}é'.encode():\n    os.write(1, bytes([byte]))\n    time.sleep(0.01)"
    assert kernel.execute_ok(code).stdout == "\N{GRINNING FACE}é"


def test_threads_print_within_the_cell(kernel):
    code = """
import threading
threads = [threading.Thread(target=print, args=(f'thread {i}',)) for i in range(10)]
for t in threads: t.start()
for t in threads: t.join()
"""
    stdout = kernel.execute_ok(code).stdout
    assert all(f"thread {i}" in stdout for i in range(10))
    assert stdout.count("\n") == 10


def test_a_thread_that_outlives_its_cell_is_heard(kernel):
    code = """
import threading
go = threading.Event()
def late():
    go.wait()
    print('late words')
thread = threading.Thread(target=late)
thread.start()
"""
    kernel.execute_ok(code)
    assert kernel.execute_ok("go.set(); thread.join()").stdout == "late words\n"


def test_a_thread_is_heard_while_the_kernel_is_idle(kernel):
    cell = kernel.execute_ok("import threading; threading.Timer(0.2, print, ['idle words']).start()")
    heard = ""
    while heard != "idle words\n":
        message = kernel.recv("iopub", "stream")
        assert message.answers(cell.request)
        heard += message.content["text"]


FORK = """
import os, sys
child = os.fork()
if child == 0:
    print('from the child')
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""


@ours
def test_a_forked_child_is_heard(kernel):
    exchange = kernel.execute_ok(FORK + "print('from the parent')")
    assert exchange.stdout == "from the child\nfrom the parent\n"


def test_a_forked_child_is_heard_in_the_end(kernel):
    """ipykernel hears its child some time after the cell, in a message that has that cell as its parent."""
    cell = kernel.execute(FORK)
    assert cell.status == "ok"
    heard = cell.stdout
    while heard != "from the child\n":
        message = kernel.recv("iopub", "stream")
        assert message.answers(cell.request)
        heard += message.content["text"]


def test_a_child_that_outlives_its_cell_is_heard(kernel):
    """The output of a process belongs to the newest cell at the time when it is read."""
    first = kernel.execute_ok(
        "import subprocess; job = subprocess.Popen(['sh', '-c', 'read x; echo $x'], stdin=-1)"
    )
    second = kernel.execute_ok("job.communicate(b'words of the job\\n')")
    heard = first.stdout + second.stdout
    deadline = time.monotonic() + 30
    while heard != "words of the job\n":
        assert time.monotonic() < deadline, heard
        heard += kernel.recv("iopub", "stream").content["text"]


def test_replacing_sys_stdout_catches_prints(kernel):
    code = "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as held: print('caught')"
    assert kernel.execute_ok(code).outputs == []
    assert kernel.evaluate("held.getvalue()") == "caught\n"


def test_flush_publishes_while_the_cell_runs(kernel):
    cell = kernel.start("print('early', flush=True); answer = input()", allow_stdin=True)
    kernel.wait_for_stream(cell, "early\n")
    kernel.recv_stdin_request()
    kernel.answer_input("go")
    assert kernel.collect(cell).stdout == "early\n"


def test_print_publishes_without_a_flush_while_the_cell_runs(kernel):
    cell = kernel.start("print('soon'); import time; time.sleep(2)")
    kernel.wait_for_stream(cell, "soon\n")
    assert not [m for m in kernel.unread["shell"] if m.answers(cell)]
    assert kernel.collect(cell).stdout == "soon\n"


@pytest.mark.ours
def test_a_loop_that_prints_now_and_then_is_few_messages(kernel):
    exchange = kernel.execute_ok("import time\nfor i in range(40):\n    print(i)\n    time.sleep(0.01)")
    assert exchange.stdout.split() == [str(i) for i in range(40)]
    assert len(exchange.of("stream")) <= 10
