"""Strangers at the ports and clients without manners: an honest client beside them notices nothing.

HOSTILE_FUZZ is the number of fuzzed inputs.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq
from clients import greeting, ready, socket_type

from frontend import execute_content
from hostile import (
    CHANNELS,
    MIB,
    SMALL,
    SOON,
    address,
    assert_front_lives,
    assert_shrinks,
    forget_strangers,
    is_from_elsewhere,
    port,
    watched,
    works,
    works_while,
)
from message import build, pack

pytestmark = pytest.mark.ours

FUZZER = Path(__file__).resolve().parents[1] / "wire" / "fuzz.py"
INPUTS = int(os.environ.get("HOSTILE_FUZZ", "20000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))

STORM = 300
SILENT = 200

FLOOD = 10_000
LINES = 200_000
SHOWN = 100

SUBSCRIBER_PROGRAM = """
import sys, zmq
with zmq.Context() as context, context.socket(zmq.SUB) as socket:
    socket.subscribe(b"")
    socket.connect(sys.argv[1])
    socket.recv_multipart()
    print("welcome", flush=True)
    while True:
        socket.recv_multipart()
"""


@pytest.fixture
def kernel(kernel):
    kernel.tolerates = is_from_elsewhere(kernel)
    return kernel


# --- strangers


@pytest.mark.timeout(max(120, INPUTS // 500))
def test_fuzzed_frames_at_every_port_disturb_no_cell(kernel):
    with watched(kernel):
        command = [sys.executable, str(FUZZER), kernel.manager.connection_file, str(INPUTS), str(SEED)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fuzzer:
            cells = works_while(kernel, lambda: fuzzer.poll() is None)
            report = json.loads(fuzzer.stdout.read())
    print(report, f"{cells} cells")
    assert report["alive"] and report["inputs"] >= INPUTS
    assert report["probes_answered"] == report["probes"]
    assert cells > 1


def test_a_storm_of_connections_disturbs_no_cell(kernel):
    def storm():
        for number in range(STORM):
            for channel in CHANNELS:
                with socket.create_connection(address(kernel, channel), timeout=SOON) as raw:
                    if number % 3 == 1:
                        raw.sendall(greeting())
                    elif number % 3 == 2:
                        raw.sendall(greeting() + ready(socket_type(channel)))

    thread = threading.Thread(target=storm)
    with watched(kernel):
        thread.start()
        works_while(kernel, thread.is_alive)
    assert_front_lives(kernel)


def test_silent_half_handshakes_disturb_no_cell(kernel):
    openings = [b"", b"\xff", greeting()[:11], greeting(), greeting() + ready(b"DEALER")[:5]]
    held = []
    try:
        with watched(kernel):
            for number in range(SILENT):
                raw = socket.create_connection(address(kernel, CHANNELS[number % 5]), timeout=SOON)
                held.append(raw)
                raw.sendall(openings[number // 5 % 5])
                if number % 10 == 0:
                    works(kernel, number)
            assert_front_lives(kernel)
            works(kernel, 1)
    finally:
        for raw in held:
            raw.close()


def test_a_stopped_subscriber_takes_no_byte_from_the_others(kernel):
    """A stopped client is waited for a second, holds back what it may, and is let go."""
    url = f"tcp://{kernel.manager.ip}:{port(kernel, 'iopub')}"
    command = [sys.executable, "-c", SUBSCRIBER_PROGRAM, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as subscriber:
        try:
            assert subscriber.stdout.readline() == "welcome\n"
            subscriber.send_signal(signal.SIGSTOP)
            with watched(kernel):
                exchange = kernel.execute_ok(
                    f"for n in range({LINES}): print(n)\n"
                    f"for n in range({SHOWN}): display({{'text/plain': chr(65 + n % 26) * {MIB}}}, raw=True)"
                )
        finally:
            subscriber.kill()
    assert exchange.stdout == "".join(f"{n}\n" for n in range(LINES))
    shown = [m.content["data"]["text/plain"] for m in exchange.of("display_data")]
    big = [text for text in shown if len(text) == MIB]
    assert big == [chr(65 + n % 26) * MIB for n in range(SHOWN)]
    assert_shrinks(kernel)
    works(kernel, 7)


# --- clients that are known and have no manners


def test_ten_thousand_cells_at_once_are_all_answered(kernel):
    """Beyond what the front queues a request is refused, which is an answer too."""
    with watched(kernel):
        cells = [kernel.start(f"{n}", store_history=False) for n in range(FLOOD)]
        assert_front_lives(kernel)
        left = {cell.id: n for n, cell in enumerate(cells)}
        idle = set()
        results = {}
        while left or len(idle) < FLOOD:
            message = kernel.take("shell", lambda _: True, "reply") if left else None
            if message is not None:
                number = left.pop(message.parent_header["msg_id"])
                results[number] = message.content["status"]
            for m in kernel.unread["iopub"] if left else drained(kernel):
                if m.is_status("idle"):
                    idle.add(m.parent_header["msg_id"])
            kernel.unread["iopub"].clear()
    assert set(results) == set(range(FLOOD))
    assert set(results.values()) <= {"ok", "error"}
    works(kernel, 5)


def drained(kernel):
    kernel.pump(0.5)
    return list(kernel.unread["iopub"])


DEEP = 100_000
DEEP_JSON = b"[" * DEEP + b"]" * DEEP


@pytest.mark.parametrize("where", [1, 2, 3], ids=["parent_header", "metadata", "content"])
@pytest.mark.parametrize(
    "msg_type", ["execute_request", "complete_request", "comm_open", "kernel_info_request"]
)
def test_a_hundred_thousand_nested_lists_get_an_answer(kernel, where, msg_type):
    message = build("shell", msg_type, {"code": "1", "cursor_pos": 1}, session=kernel.session)
    message.raw[where] = b'{"deep": ' + DEEP_JSON + b"}"
    kernel.sockets["shell"].send_multipart(pack(message, kernel.key))
    kernel.take_until_idle(message, SOON)
    kernel.pump(0.05)
    kernel.unread["shell"].clear()
    works(kernel, 3)


def test_a_message_id_of_a_megabyte_comes_back_whole(kernel):
    exchange = kernel.execute("print(1)", header={"msg_id": "m" * MIB}, timeout=SOON)
    assert exchange.stdout == "1\n"
    assert exchange.reply.parent_header["msg_id"] == "m" * MIB


def test_four_thousand_buffers_are_no_reason_to_stop(kernel):
    buffers = [bytes([n % 256]) * 100 for n in range(4000)]
    kernel.take_until_idle(
        kernel.send("shell", "comm_msg", {"comm_id": "nowhere", "data": {}}, buffers=buffers), SOON
    )
    exchange = kernel.request("shell", "execute_request", {"code": "1"}, buffers=buffers, timeout=SOON)
    assert exchange.status == "ok"


def test_more_frames_than_allowed_are_dropped(kernel):
    """With the connection that they came on, so they come on one of their own."""
    message = build(
        "shell", "execute_request", {"code": "evil = 1"}, session=kernel.session, buffers=[b""] * 5000
    )
    with zmq.Context.instance().socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.connect(f"tcp://{kernel.manager.ip}:{port(kernel, 'shell')}")
        stranger.send_multipart(pack(message, kernel.key))
        for number in range(20):
            works(kernel, number)
    assert kernel.evaluate("'evil' in globals()") is False


NASTY_TYPES = {
    "quotes": '"}{"\\"_request',
    "newlines": "a\nb\r\n_request",
    "NUL": "\0_request\0",
    "200 kB": "x" * 200_000 + "_request",
    "200 kB without an end": "y" * 200_000,
    "a lone surrogate": "\ud800_request",
    "dunder": "__class___request",
    "a reply": "execute_reply",
    "only the end": "_request",
    "an override": "\u202e_request",
}


@pytest.mark.parametrize("channel", ["shell", "control"])
@pytest.mark.parametrize("name", NASTY_TYPES)
def test_a_nasty_type_gets_an_error_and_harms_nothing(kernel, channel, name):
    """A header that is no text at all (a lone surrogate) is no message and may be dropped. What is no request has no reply."""
    request = kernel.send(channel, NASTY_TYPES[name], {})
    if name != "a lone surrogate":
        if NASTY_TYPES[name].endswith("_request"):
            reply = kernel.take(channel, request.is_parent_of, "any reply", timeout=SOON)
            assert reply.content["status"] == "error"
        kernel.take_until_idle(request, SOON)
    works(kernel, 4)


def test_a_string_of_a_hundred_megabytes_is_answered_and_given_back(kernel):
    """While it is on its way the front holds it; afterwards it does not."""
    with watched(kernel, SMALL + 2 * 100 * MIB):
        content = execute_content("6 * 7", store_history=False)
        exchange = kernel.request(
            "shell", "execute_request", {**content, "more": "x" * (100 * MIB)}, timeout=60
        )
    assert exchange.result == "42"
    del exchange, content
    assert_shrinks(kernel)
    works(kernel, 6)


def test_a_replayed_message_and_a_wrong_signature_run_nothing(kernel):
    kernel.execute_ok("runs = 0")
    message = build("shell", "execute_request", {"code": "runs += 1"}, session=kernel.session)
    frames = pack(message, kernel.key)
    for _ in range(500):
        kernel.sockets["shell"].send_multipart(frames)
        kernel.sockets["shell"].send_multipart([frames[0], b"0" * 64, *frames[2:]])
        kernel.sockets["control"].send_multipart(frames)
    kernel.collect(message, SOON)
    assert kernel.evaluate("runs") == 1


def test_answers_to_no_question_are_forgotten(kernel):
    for _ in range(1000):
        kernel.answer_input("unasked")
    kernel.wait_until_stdin_is_read()
    request = kernel.start("input('? ')", allow_stdin=True)
    kernel.recv_stdin_request()
    kernel.answer_input("asked")
    assert kernel.collect(request, SOON).result == "'asked'"


def test_a_flood_of_comm_messages_to_nowhere_is_framed(kernel):
    """IPython logs each of them; what comes on stderr is its."""
    sent = [kernel.send("shell", "comm_msg", {"comm_id": f"no comm {n}", "data": {}}) for n in range(2000)]
    cell = kernel.start("print('after')")
    for request in sent:
        kernel.take_until_idle(request, SOON)
    assert kernel.collect(cell, SOON).stdout == "after\n"
    forget_strangers(kernel)
