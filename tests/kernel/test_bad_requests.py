"""Requests that no honest front end sends: each is answered or ignored, and the kernel lives."""

import os
import socket

import pytest

from frontend import KERNEL
from message import DELIMITER, build, pack

ours = pytest.mark.ours


@pytest.fixture
def kernel(kernel):
    """ipykernel complains of such requests on the stderr of whatever cell comes next, some time later."""
    if KERNEL == "python3":
        kernel.tolerates = lambda m: m.type == "stream" and m.content["name"] == "stderr"
    return kernel


BAD_FIELDS = {
    "no code": {},
    "code is a number": {"code": 5},
    "code is null": {"code": None},
    "code is a list": {"code": ["1"]},
    "user_expressions is a list": {"code": "1", "user_expressions": [1]},
}
BAD_JSON = {
    "content is a list": b"[1, 2]",
    "content is a number": b"7",
    "content is null": b"null",
    "content is no JSON": b"{nonsense",
    "content is empty": b"",
    "content is no UTF-8": b'{"code": "\xff\xfe"}',
    "content is nested too deep": b"[" * 100_000,
}


def assert_alive(kernel):
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


@ours
@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_wrong_field_of_execute_is_an_error_reply(kernel, name):
    exchange = kernel.request("shell", "execute_request", BAD_FIELDS[name])
    assert (exchange.reply.type, exchange.status) == ("execute_reply", "error")
    assert exchange.content["evalue"]
    assert_alive(kernel)


@pytest.mark.parametrize("flag", [0, 1, None, "", "yes", []])
def test_a_flag_of_another_type_is_taken_as_python_takes_it(kernel, flag):
    exchange = kernel.request(
        "shell", "execute_request", {"code": "5", "silent": flag, "stop_on_error": flag}
    )
    assert exchange.status == "ok"
    assert (exchange.outputs == []) == bool(flag)
    assert_alive(kernel)


@ours
@pytest.mark.parametrize("name", BAD_JSON)
def test_content_that_is_no_object_is_an_error_reply(kernel, name):
    exchange = kernel.request("shell", "execute_request", {}, raw_content=BAD_JSON[name])
    assert (exchange.reply.type, exchange.status) == ("execute_reply", "error")
    assert_alive(kernel)


@ours
@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("complete_request", {}),
        ("complete_request", {"code": "x", "cursor_pos": -5}),
        ("complete_request", {"code": "x", "cursor_pos": "two"}),
        ("inspect_request", {"code": 1, "cursor_pos": 0}),
        ("inspect_request", {}),
        ("is_complete_request", {}),
        ("is_complete_request", {"code": None}),
        ("history_request", {"hist_access_type": "nonsense"}),
        ("comm_info_request", {"target_name": 5}),
    ],
)
def test_a_wrong_field_of_any_request_gets_an_answer(kernel, msg_type, content):
    exchange = kernel.request("shell", msg_type, content)
    assert exchange.reply.type == msg_type.replace("_request", "_reply")
    assert_alive(kernel)


@ours
@pytest.mark.parametrize("cursor", [0, 1, 2, 100, 2**40])
def test_a_cursor_anywhere_gets_an_answer(kernel, cursor):
    for msg_type in ("complete_request", "inspect_request"):
        code = "\N{GRINNING FACE}a"
        exchange = kernel.request("shell", msg_type, {"code": code, "cursor_pos": cursor, "detail_level": 0})
        assert exchange.status in ("ok", "error")


@ours
@pytest.mark.parametrize("channel", ["shell", "control"])
def test_an_unknown_request_is_an_error_reply(kernel, channel):
    exchange = kernel.request(channel, "no_such_request", {"x": 1})
    assert (exchange.reply.type, exchange.status) == ("no_such_reply", "error")
    assert "no_such_request" in exchange.content["evalue"]


@pytest.mark.parametrize("channel", ["shell", "control"])
def test_an_unknown_request_does_not_disturb(kernel, channel):
    request = kernel.send(channel, "no_such_request", {"x": 1})
    kernel.take_until_idle(request)
    assert_alive(kernel)
    kernel.unread[channel] = [m for m in kernel.unread[channel] if not m.answers(request)]


@pytest.mark.parametrize("msg_type", ["input_reply", "execute_reply", "status", "stream", "nonsense"])
def test_what_is_no_request_has_no_reply(kernel, msg_type):
    stray = kernel.send("shell", msg_type, {"value": "stray", "status": "ok"})
    for state in ("busy", "idle"):
        message = kernel.take("iopub", stray.is_parent_of, f"{state} of {msg_type}")
        assert message.is_status(state)
    assert_alive(kernel)


@pytest.mark.parametrize("msg_type", ["comm_msg", "comm_close"])
def test_a_message_for_an_unknown_comm_does_not_disturb(kernel, msg_type):
    kernel.take_until_idle(kernel.send("shell", msg_type, {"comm_id": "no such comm", "data": {}}))
    assert_alive(kernel)


@ours
@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"comm_id": 5, "target_name": 6, "data": 7}', b"nonsense"])
@pytest.mark.parametrize("msg_type", ["comm_open", "comm_msg", "comm_close"])
def test_a_malformed_comm_message_is_framed_and_forgotten(kernel, msg_type, raw):
    kernel.take_until_idle(kernel.send("shell", msg_type, raw_content=raw))
    assert_alive(kernel)


def malformed(kernel):
    """Multiparts that are no signed message."""
    good = pack(build("shell", "execute_request", {"code": "evil = 1"}, session=kernel.session), kernel.key)
    return {
        "wrong signature": [good[0], b"0" * 64, *good[2:]],
        "empty signature": [good[0], b"", *good[2:]],
        "short signature": [good[0], good[1][:10], *good[2:]],
        "content exchanged": [*good[:5], b'{"code": "evil = 2"}'],
        "no delimiter": good[1:],
        "delimiter alone": [DELIMITER],
        "two parts": good[:2],
        "a part too few": good[:-1],
        "empty": [b""],
        "binary": [os.urandom(100)],
        "many parts": [b"x"] * 500,
    }


MALFORMED = ["wrong signature", "empty signature", "short signature", "content exchanged", "no delimiter"]
MALFORMED += ["delimiter alone", "two parts", "a part too few", "empty", "binary", "many parts"]


@pytest.mark.parametrize("channel", ["shell", "control", "stdin"])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_message_that_is_not_signed_and_whole_is_ignored(kernel, channel, name):
    kernel.sockets[channel].send_multipart(malformed(kernel)[name])
    assert_alive(kernel)
    assert kernel.evaluate("'evil' in globals()") is False


@ours
def test_the_same_message_twice_runs_once(kernel):
    kernel.execute_ok("runs = 0")
    message = build("shell", "execute_request", {"code": "runs += 1"}, session=kernel.session)
    for _ in range(2):
        kernel.sockets["shell"].send_multipart(pack(message, kernel.key))
    kernel.collect(message)
    assert kernel.evaluate("runs") == 1


@ours
def test_a_forged_frame_of_huge_length_does_not_end_the_kernel(kernel):
    """A ZMTP 3 greeting, then a frame that claims 2^63 bytes: enough to abort a careless ZeroMQ in Rust."""
    greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32
    for name in ("shell", "control", "stdin", "iopub", "hb"):
        address = (kernel.manager.ip, getattr(kernel.manager, f"{name}_port"))
        with socket.create_connection(address, timeout=10) as raw:
            raw.sendall(greeting + b"\x02" + (2**63 - 1).to_bytes(8, "big") + b"x")
    assert_alive(kernel)
