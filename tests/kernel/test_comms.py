"""Comms: opened, used and closed from both sides, with binary buffers, inside and outside of cells."""

import pytest

from frontend import KERNEL, PATIENCE


def test_a_comm_of_comm_and_one_of_ipykernel_both_speak(kernel):
    for module, make in (("comm", "create_comm"), ("ipykernel.comm", "Comm")):
        code = f"from {module} import {make} as make\nc = make(target_name='t', data={{'n': 1}})\nc.send({{'n': 2}})\nc.close()"
        said = kernel.execute_ok(code).of("comm_open", "comm_msg", "comm_close")
        assert [m.type for m in said] == ["comm_open", "comm_msg", "comm_close"], module


def test_binary_buffers_and_metadata_leave_with_a_comm(kernel):
    code = (
        "from comm import create_comm\nc = create_comm('t', buffers=[b'\\x00open'])\n"
        "c.send({'a': 1}, metadata={'m': 1}, buffers=[b'one', memoryview(bytearray(b'two')), b''])\nc.close()"
    )
    opened, sent, _ = kernel.execute_ok(code).of("comm_open", "comm_msg", "comm_close")
    assert opened.buffers == [b"\0open"]
    assert sent.buffers == [b"one", b"two", b""]
    assert sent.metadata["m"] == 1


def test_a_numpy_buffer_of_ten_megabytes_travels_both_ways(kernel):
    code = """
from comm import create_comm
import numpy as np
echo = create_comm('big')
received = []
@echo.on_msg
def got(message):
    received.append(bytes(message['buffers'][0]))
    echo.send({}, buffers=[np.frombuffer(message['buffers'][0], dtype='u1')[::-1].copy()])
"""
    (opened,) = kernel.execute_ok(code).of("comm_open")
    sent = bytes(range(256)) * 40_000
    request = kernel.send(
        "shell", "comm_msg", {"comm_id": opened.content["comm_id"], "data": {}}, buffers=[sent]
    )
    (answer,) = [m for m in kernel.take_until_idle(request) if m.type == "comm_msg"]
    assert answer.buffers == [sent[::-1]]
    assert kernel.evaluate("len(received[0])") == len(sent)


def test_a_target_opened_by_the_front_end_gets_the_close(kernel):
    code = """
closed = []
def target(comm, message):
    comm.on_close(lambda m: closed.append(m['content']['data']))
get_ipython().kernel.comm_manager.register_target('closing', target)
"""
    kernel.execute_ok(code)
    assert kernel.evaluate("'closing' in get_ipython().kernel.comm_manager.targets") is True
    kernel.take_until_idle(
        kernel.send("shell", "comm_open", {"comm_id": "closing-1", "target_name": "closing", "data": {}})
    )
    assert kernel.evaluate("'closing-1' in get_ipython().kernel.comm_manager.comms") is True
    kernel.take_until_idle(
        kernel.send("shell", "comm_close", {"comm_id": "closing-1", "data": {"why": "done"}})
    )
    assert kernel.evaluate("closed") == [{"why": "done"}]


def test_an_error_in_a_comm_callback_is_shown_and_survived(kernel):
    code = "from comm import create_comm\nbad = create_comm('bad')\nbad.on_msg(lambda message: 1 / 0)"
    (opened,) = kernel.execute_ok(code).of("comm_open")
    request = kernel.send("shell", "comm_msg", {"comm_id": opened.content["comm_id"], "data": {}})
    said = str([m.content for m in kernel.take_until_idle(request)])
    said += str([m.content for m in kernel.unread["iopub"]])
    kernel.execute_ok("print('alive')")
    kernel.unread["iopub"].clear()
    assert "ZeroDivisionError" in said


REGISTER = """
from comm import create_comm, get_comm_manager
log = []
def target(comm, message):
    log.append(('open', message['content']['data'], message['metadata'], [bytes(b) for b in message['buffers']]))
    @comm.on_msg
    def got(message):
        log.append(('msg', message['content']['data'], [bytes(b) for b in message['buffers']]))
        comm.send({'echo': message['content']['data']}, {'m': 2}, [bytes(b) + b'!' for b in message['buffers']])
    comm.on_close(lambda message: log.append(('close', message['content']['data'])))
    comm.send({'hello': comm.comm_id})
get_comm_manager().register_target('talk', target)
"""


def test_a_comm_of_the_front_end_carries_everything_both_ways(kernel):
    kernel.execute_ok(REGISTER)
    opening = {"comm_id": "talk-1", "target_name": "talk", "data": {"a": [1, None, "é"]}}
    said = kernel.take_until_idle(
        kernel.send("shell", "comm_open", opening, metadata={"m": 1}, buffers=[b"\0\xff", b""])
    )
    assert [m.content["data"] for m in said if m.type == "comm_msg"] == [{"hello": "talk-1"}]
    request = kernel.send("shell", "comm_msg", {"comm_id": "talk-1", "data": {"b": 2}}, buffers=[b"x"])
    (answer,) = [m for m in kernel.take_until_idle(request) if m.type == "comm_msg"]
    assert (answer.content["data"], answer.metadata["m"], answer.buffers) == ({"echo": {"b": 2}}, 2, [b"x!"])
    kernel.take_until_idle(kernel.send("shell", "comm_close", {"comm_id": "talk-1", "data": {"c": 3}}))
    assert kernel.evaluate("log") == [
        ("open", {"a": [1, None, "é"]}, {"m": 1}, [b"\0\xff", b""]),
        ("msg", {"b": 2}, [b"x"]),
        ("close", {"c": 3}),
    ]
    assert kernel.evaluate("'talk-1' in get_comm_manager().comms") is False


def test_a_comm_to_nowhere_is_closed_again(kernel):
    """And so is one whose target fails."""
    code = "from comm import get_comm_manager\ndef fails(comm, message): raise KeyError('in the target')\n"
    kernel.execute_ok(code + "get_comm_manager().register_target('fails', fails)")
    for target in ("nowhere", "fails"):
        opening = {"comm_id": f"to-{target}", "target_name": target, "data": {}}
        said = kernel.take_until_idle(kernel.send("shell", "comm_open", opening))
        assert [m.content["comm_id"] for m in said if m.type == "comm_close"] == [f"to-{target}"]
    kernel.pump_for(0.3)
    kernel.unread["iopub"].clear()  # what is told of the failures on stderr
    assert kernel.evaluate("[c for c in get_comm_manager().comms if c.startswith('to-')]") == []


def test_the_open_comms_are_told_by_target(kernel):
    kernel.execute_ok("from comm import create_comm\nfirst, second = create_comm('one'), create_comm('two')")
    ids = kernel.evaluate("(first.comm_id, second.comm_id)")

    def told(content):
        return kernel.request("shell", "comm_info_request", content).content["comms"]

    assert {ids[0]: {"target_name": "one"}, ids[1]: {"target_name": "two"}}.items() <= told({}).items()
    assert told({"target_name": "two"}) == {ids[1]: {"target_name": "two"}}
    closed = kernel.execute_ok("first.close({'bye': 1}); first.close(); second.close()").of("comm_close")
    assert [m.content["data"] for m in closed] == [{"bye": 1}, {}]
    assert not set(ids) & set(told({}))


def test_a_comm_that_is_forgotten_is_closed(kernel):
    code = "from comm import create_comm, get_comm_manager\nlost = create_comm('lost')\n"
    code += "get_comm_manager().unregister_comm(lost)\ndel lost"
    assert [m.type for m in kernel.execute_ok(code).of("comm_open", "comm_close")] == [
        "comm_open",
        "comm_close",
    ]


def test_a_comm_knows_its_kernel(kernel):
    kernel.execute_ok("from comm import create_comm\nknows = create_comm('knows')")
    assert kernel.evaluate("knows.kernel is get_ipython().kernel and knows.primary") is True


UNUSUAL = {
    "structured": ("np.zeros(20_000, dtype=[('a', 'i4'), ('b', 'f8')])", 240_000),
    "Fortran's order": ("np.asfortranarray(np.ones((200, 200), 'i4'))", 160_000),
    "Fortran's order, small": ("np.asfortranarray(np.ones((2, 2), 'i4'))", 16),
    "half floats": ("np.zeros(40_000, 'f2')", 80_000),
    "empty": ("b''", 0),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_buffer_of_unusual_make_is_sent_as_it_lies_in_memory(kernel, name):
    array, size = UNUSUAL[name]
    code = f"import numpy as np\nfrom comm import create_comm\nc = create_comm('c')\ndata = {array}\n"
    (sent,) = kernel.execute_ok(f"{code}c.send({{}}, buffers=[data])\nc.close()").of("comm_msg")
    assert len(sent.buffers[0]) == size
    if name.startswith("Fortran"):
        assert sent.buffers == [b"\1\0\0\0" * (size // 4)]


REFUSED = {
    "gaps, large": ("ValueError", "{}, buffers=[np.arange(80_000).reshape(400, 200)[:, ::2]]"),
    "gaps, small": ("ValueError", "{}, buffers=[np.arange(8)[::2]]"),
    "text": ("TypeError", "{}, buffers=['text']"),
    "a number": ("TypeError", "{}, buffers=[b'good', 5]"),
    "an object": ("ValueError", "{'key': object()}"),
    "an object, deep": ("ValueError", "{'key': [{'deep': print}]}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sent_is_an_error_of_the_cell_and_nothing_else(kernel, name):
    error, arguments = REFUSED[name]
    kernel.execute_ok("import numpy as np\nfrom comm import create_comm\nrefuses = create_comm('refuses')")
    exchange = kernel.execute(f"refuses.send({arguments})")
    assert exchange.content["ename"] == error and not exchange.of("comm_msg")
    (sent,) = kernel.execute_ok("refuses.send({'still': 'works'}, buffers=[b'b'])").of("comm_msg")
    assert (sent.content["data"], sent.buffers) == ({"still": "works"}, [b"b"])


def test_a_display_of_what_is_no_json_is_an_error_of_the_cell(kernel):
    exchange = kernel.execute("display({'application/json': {'a': object()}}, raw=True)")
    assert exchange.content["ename"] == "ValueError" and not exchange.of("display_data")


# --- callbacks


def test_a_callback_runs_between_the_events_of_a_cell(kernel):
    """matplotlib draws its figures then."""
    code = """
from comm import create_comm
order, watched = [], create_comm('watched')
hooks = {name: lambda *_, name=name: order.append(name) for name in ('pre_execute', 'post_execute')}
for name, hook in hooks.items(): get_ipython().events.register(name, hook)
watched.on_msg(lambda message: order.append('callback'))
"""
    (opened,) = kernel.execute_ok(code).of("comm_open")
    kernel.execute_ok("order.clear()")
    message = {"comm_id": opened.content["comm_id"], "data": {}}
    kernel.take_until_idle(kernel.send("shell", "comm_msg", message))
    kernel.execute_ok("for name, hook in hooks.items(): get_ipython().events.unregister(name, hook)")
    seen = kernel.evaluate("order")
    assert seen[:4] == ["post_execute", "pre_execute", "callback", "post_execute"]


def test_all_outputs_of_a_callback_belong_to_its_message(kernel):
    code = """
import sys
from comm import create_comm
speaks = create_comm('speaks')
@speaks.on_msg
def got(message):
    print('printed')
    print('complained', file=sys.stderr)
    display('shown')
    speaks.send({'sent': 1})
"""
    (opened,) = kernel.execute_ok(code).of("comm_open")
    request = kernel.send("shell", "comm_msg", {"comm_id": opened.content["comm_id"], "data": {}})
    said = kernel.take_until_idle(request)  # which checks the parent of each
    kernel.pump_for(0.3)
    said += [m for m in kernel.unread["iopub"] if m.answers(request)]
    kernel.unread["iopub"].clear()
    texts = {m.content["name"]: m.content["text"] for m in said if m.type == "stream"}
    assert texts == {"stdout": "printed\n", "stderr": "complained\n"}
    assert {"display_data", "comm_msg"} <= {m.type for m in said}


def test_an_interrupt_ends_a_callback_and_nothing_else(kernel):
    code = """
import time
from comm import create_comm
spins = create_comm('spins')
@spins.on_msg
def got(message):
    print('spinning', flush=True)
    while True: time.sleep(0.01)
"""
    (opened,) = kernel.execute_ok(code).of("comm_open")
    request = kernel.send("shell", "comm_msg", {"comm_id": opened.content["comm_id"], "data": {}})
    kernel.wait_for_stream(request, "spinning\n")
    kernel.interrupt_by_signal() if KERNEL == "python3" else kernel.interrupt_by_message()
    said = kernel.take_until_idle(request)
    assert [m.content["text"] for m in said if m.type == "stream"] == ["spinning\n"]
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"
    kernel.execute_ok("spins.close()")


def test_exit_in_a_callback_ends_the_kernel(start_kernel):
    kernel = start_kernel()
    code = (
        "from comm import create_comm\nleaves = create_comm('leaves')\nleaves.on_msg(lambda message: exit())"
    )
    (opened,) = kernel.execute_ok(code).of("comm_open")
    kernel.send("shell", "comm_msg", {"comm_id": opened.content["comm_id"], "data": {}})
    kernel.manager.provisioner.process.wait(PATIENCE)
    kernel.assert_all_gone()
    kernel.kill()


AWAITS = """
import asyncio
from comm import create_comm
told, answer = asyncio.Event(), create_comm('answer')
@answer.on_msg
def got(message):
    answer.send({'thanks': message['content']['data']}, buffers=message['buffers'])
    told.set()
print('waiting', flush=True)
await told.wait()
print('told')
"""


def test_a_message_reaches_a_cell_that_awaits_it(kernel):
    """What the callback sends belongs to the message, what the cell prints belongs to the cell."""
    cell = kernel.start(AWAITS)
    kernel.wait_for_stream(cell, "waiting\n")
    opened = kernel.take("iopub", lambda m: m.type == "comm_open", "the comm of the cell")
    message = {"comm_id": opened.content["comm_id"], "data": {"n": 1}}
    request = kernel.send("shell", "comm_msg", message, buffers=[b"both ways"])
    answer = kernel.take("iopub", lambda m: m.type == "comm_msg", "the answer")
    assert answer.parent_header == request.header
    assert (answer.content["data"], answer.buffers) == ({"thanks": {"n": 1}}, [b"both ways"])
    reply = kernel.take("shell", cell.is_parent_of, "the reply")
    assert reply.content["status"] == "ok"
    kernel.pump_for(0.3)
    assert kernel.printed(cell) == "waiting\ntold\n"
    kernel.unread["iopub"].clear()  # ipykernel tells no status of such a message


@pytest.mark.parametrize(
    "start", ["asyncio.get_running_loop().call_later(0.2, later)", "asyncio.create_task(task())"]
)
def test_a_comm_speaks_after_its_cell(kernel, start):
    code = f"""
import asyncio
from comm import create_comm
late = create_comm('late')
def later(): late.send({{'late': True}})
async def task():
    await asyncio.sleep(0.2)
    later()
handle = {start}
"""
    cell = kernel.execute_ok(code)
    said = kernel.take("iopub", lambda m: m.type == "comm_msg", "the late word")
    assert said.content["data"] == {"late": True} and said.parent_header == cell.request.header


def test_a_comm_speaks_from_a_thread(kernel):
    code = """
import threading
from comm import create_comm
many = create_comm('many')
threads = [threading.Thread(target=lambda n=n: [many.send({'n': n}, buffers=[bytes(70_000)]) for _ in range(20)]) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    said = kernel.execute_ok(code).of("comm_msg")
    assert sorted(m.content["data"]["n"] for m in said) == sorted(list(range(4)) * 20)
    assert all(m.buffers == [bytes(70_000)] for m in said)
