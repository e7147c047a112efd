"""What forked children show: displays, figures, widgets and their messages, in order with what is printed."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.ours

START = """
import os, sys, time
from IPython.display import HTML, display
def fork(function):
    pid = os.fork()
    if not pid:
        try:
            function()
        finally:
            os._exit(0)
    return pid
def wait(*pids):
    for pid in pids:
        os.waitpid(pid, 0)
"""


@pytest.fixture
def forks(kernel):
    kernel.execute_ok(START)
    return kernel


def shown(exchange):
    """Text and displays as they came."""
    found = []
    for message in exchange.of("stream", "display_data"):
        if message.type == "display_data":
            found.append(message.content["data"]["text/plain"].strip("'"))
        else:
            found += message.content["text"].split()
    return found


def test_text_and_displays_of_a_child_keep_their_order(forks):
    code = """
display('before')
print('parent')
def child():
    for i in range(20):
        print('text', i, sep='')
        display(f'display{i}')
wait(fork(child))
print('after')
display('over')
"""
    both = [name for i in range(20) for name in (f"text{i}", f"display{i}")]
    assert shown(forks.execute_ok(code)) == ["before", "parent", *both, "after", "over"]


def test_what_one_process_waits_for_comes_first(forks):
    code = """
ours, theirs = os.pipe(), os.pipe()
def child():
    for i in range(30):
        os.read(ours[0], 1)
        display(f'child{i}')
        os.write(theirs[1], b'x')
pid = fork(child)
for i in range(30):
    display(f'parent{i}')
    os.write(ours[1], b'x')
    os.read(theirs[0], 1)
wait(pid)
"""
    expected = [f"{who}{i}" for i in range(30) for who in ("parent", "child")]
    assert shown(forks.execute_ok(code)) == expected


def test_nothing_of_many_children_is_lost(forks):
    code = """
def child(n):
    for i in range(5):
        display(HTML(f'{n} {i} ' + 'x' * 100_000))
wait(*[fork(lambda n=n: child(n)) for n in range(50)])
"""
    exchange = forks.execute_ok(code)
    texts = [message.content["data"]["text/html"].split()[:2] for message in exchange.of("display_data")]
    assert sorted(map(tuple, texts)) == sorted((str(n), str(i)) for n in range(50) for i in range(5))
    for n in range(50):
        assert [text[1] for text in texts if text[0] == str(n)] == ["0", "1", "2", "3", "4"]


def test_a_child_that_outlives_its_cell_displays_there(forks):
    first = forks.execute_ok(
        "go = os.pipe()\ndef child():\n    os.read(go[0], 1)\n    display('late')\npid = fork(child)"
    )
    second = forks.execute_ok("os.write(go[1], b'x'); wait(pid)")
    assert second.of("display_data") == []
    late = forks.take("iopub", first.request.is_parent_of, "the display of the child")
    assert late.content["data"]["text/plain"] == "'late'"


def test_a_child_that_outlives_its_cell_prints_there(forks):
    first = forks.execute_ok(
        """
go = os.pipe()
def child():
    os.read(go[0], 1)
    print('late', end=' ')
    print('text')
    print('of stderr', file=sys.stderr)
pid = fork(child)
print('in time')"""
    )
    second = forks.execute_ok("print('here')\nos.write(go[1], b'x'); wait(pid)\nprint('there')")
    assert (second.stdout, second.stderr) == ("here\nthere\n", "")
    late = [forks.take("iopub", first.request.is_parent_of, "text of the child") for _ in range(2)]
    assert [(m.content["name"], m.content["text"]) for m in late] == [
        ("stdout", "late text\n"),
        ("stderr", "of stderr\n"),
    ]


def test_a_daemon_that_closes_what_it_inherited_is_heard(forks):
    code = """
def child():
    os.read(go[0], 1)
    os.closerange(3, 4096)
    taken = [os.open('/dev/null', os.O_RDWR) for _ in range(30)]
    print('text of the daemon', flush=True)
    display('not shown')
    print('end', flush=True)
go = os.pipe()
pid = fork(child)
"""
    forks.execute_ok(code)
    second = forks.execute_ok("os.write(go[1], b'x'); wait(pid)")
    assert second.stdout == "text of the daemon\nend\n"
    assert second.of("display_data") == []


def test_a_child_has_no_result_and_shows_its_error(forks):
    code = "pid = os.fork()\nif pid: wait(pid)\nelse: 1 / 0\n'of the parent'"
    exchange = forks.execute_ok(code)
    assert exchange.result == "'of the parent'"
    assert [message.content["ename"] for message in exchange.of("error")] == ["ZeroDivisionError"]
    assert forks.execute_ok("wait(os.fork() or os._exit(0)); 5").result == "5"
    both = forks.execute_ok("pid = os.fork()\npid and wait(pid)\n'one'")
    assert both.result == "'one'"


def test_children_that_end_or_stop_in_the_midst_of_a_message_harm_nobody(forks):
    code = """
import signal
from threading import Thread
def child():
    Thread(target=lambda: (time.sleep(0.02), os.kill(os.getpid(), signal_)), daemon=True).start()
    while True:
        display(HTML('x' * 3_000_000))
for signal_ in signal.SIGKILL, signal.SIGSTOP:
    pids = [fork(child) for _ in range(5)]
    time.sleep(1)
    for pid in pids: os.kill(pid, signal.SIGKILL)
    wait(*pids)
wait(fork(lambda: display('heard')))
"""
    assert shown(forks.execute_ok(code))[-1] == "heard"


HOSTILE = {
    "no frame": "line.sendall(b'no frame at all')",
    "a frame that is not its own to send": "say({'op': 'reply', 'id': 1, 'type': 'execute_reply'}, b'{}', b'{}', b'')",
    "an absurd length": "line.sendall(struct.pack('<IIQ', 0xFE4852FF, 1, 1 << 62))",
    "bad JSON": "say_raw(b'{', b'', b'{}', b'{}')",
    "half a frame": "line.sendall(struct.pack('<II', 0xFE4852FF, 1)); time.sleep(0.1)",
    "syncs": "[say({'op': 'sync'}) for _ in range(1000)]",
    "no acknowledgement is read": "[say({'op': 'publish', 'type': 'clear_output'}, b'', b'{}', b'{\"wait\": true}') for _ in range(1000)]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_child_that_speaks_nonsense_is_not_believed(start_kernel, name):
    kernel = start_kernel()
    kernel.execute_ok(START)
    code = f"""
import json, socket, struct
def child():
    door = socket.socket(fileno=5)
    line, other = socket.socketpair()
    socket.send_fds(door, [b'l'], [other.fileno()])
    other.close()
    def say_raw(*sections):
        line.sendall(struct.pack(f'<II{{len(sections)}}Q', 0xFE4852FF, len(sections), *map(len, sections)) + b''.join(sections))
    def say(envelope, *sections):
        say_raw(json.dumps(envelope, separators=(',', ':')).encode(), *sections)
    try:
        {HOSTILE[name]}
    except OSError:
        pass
wait(fork(child))
wait(fork(lambda: display('heard')))
"""
    exchange = kernel.execute_ok(code)
    assert shown(exchange)[-1] == "heard"
    assert kernel.execute_ok("5").result == "5"


def test_children_are_heard_while_the_cell_holds_the_gil_and_when_it_floods(forks):
    code = """
def child():
    for i in range(10): display(f'display{i}')
    os.write(done[1], b'x')
done = os.pipe()
pid = fork(child)
big = [0] * 30_000_000
big.sort()
for i in range(200):
    display(HTML('y' * 200_000))
os.read(done[0], 1); wait(pid)
"""
    names = [name for name in shown(forks.execute_ok(code)) if name.startswith("display")]
    assert names == [f"display{i}" for i in range(10)]


def test_a_pool_shows_its_bars(forks):
    pytest.importorskip("ipywidgets")
    code = """
import multiprocessing
from tqdm.auto import tqdm
def work(n):
    return sum(tqdm(range(n), desc=f'worker {n}'))
with multiprocessing.get_context('fork').Pool(2) as pool:
    print(pool.map(work, [3, 4]))
"""
    exchange = forks.execute_ok(code)
    assert exchange.stdout == "[3, 6]\n"
    assert len(exchange.of("display_data")) == 2 and len(exchange.of("comm_open")) >= 22


def test_descriptors_that_are_handed_in_are_closed(forks):
    code = """
import socket
def child():
    door = socket.socket(fileno=5)
    for count in [253, 5, 1] * 20:
        line, other = socket.socketpair()
        socket.send_fds(door, [b'l'], [other.fileno()] * count)
        line.close(); other.close()
wait(fork(child))
wait(fork(lambda: display('heard')))
"""
    folder = Path(f"/proc/{forks.pid}/fd")
    before = len(list(folder.iterdir()))
    assert shown(forks.execute_ok(code)) == ["heard"]
    assert len(list(folder.iterdir())) <= before + 5


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("1 / 0", 1),
        ("sys.exit(5)", 5),
        ("sys.exit('a message')", 1),
        ("sys.exit()", 0),
        ("raise KeyboardInterrupt", 1),
    ],
)
def test_a_child_that_leaves_its_cell_ends_with_the_exit_code_of_a_program(forks, end, code):
    exchange = forks.execute_ok(
        f"ended = None; pid = os.fork()\nif not pid: {end}\nelse: ended = os.waitpid(pid, 0)[1] >> 8\nended"
    )
    assert exchange.result == str(code)
