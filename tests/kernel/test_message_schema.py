"""Every message of the protocol, asked for once. The front end checks each against its schema, its parent and its place
between busy and idle as it arrives; here we make the kernel say them all and look at what they mean."""

import json

import pytest
import zmq

from message import unpack

ours = pytest.mark.ours

INFO_CHANNELS = ("shell", "control")


@pytest.mark.parametrize("channel", INFO_CHANNELS)
def test_kernel_info_describes_a_python(kernel, channel):
    # Asked first, so that Python runs: a kernel may answer before it knows the exact version.
    version = kernel.evaluate("__import__('platform').python_version()")
    reply = kernel.request(channel, "kernel_info_request")
    language = reply.content["language_info"]
    assert reply.reply.type == "kernel_info_reply"
    assert language["name"] == "python"
    assert language["file_extension"] == ".py"
    assert language["mimetype"] == "text/x-python"
    assert language["version"] == version
    assert language["pygments_lexer"] == "ipython3"
    assert language["nbconvert_exporter"] == "python"
    assert language["codemirror_mode"]["name"] == "ipython"
    assert version in reply.content["banner"]


@ours
def test_the_header_names_the_protocol_version_of_kernel_info(kernel):
    exchange = kernel.request("shell", "kernel_info_request")
    assert exchange.reply.header["version"] == exchange.content["protocol_version"]


@ours
def test_kernel_info_advertises_only_what_works(kernel):
    content = kernel.request("shell", "kernel_info_request").content
    assert content["implementation"] == "rust-hygiene"
    for feature in content["supported_features"]:
        if feature == "debugger":
            asked = {"type": "request", "seq": 1, "command": "debugInfo"}
            assert kernel.request("control", "debug_request", asked).content.get("success") is True
        elif feature == "kernel subshells":
            made = kernel.request("control", "create_subshell_request").content
            assert made["status"] == "ok"
            kernel.request("control", "delete_subshell_request", {"subshell_id": made["subshell_id"]})
        else:
            assert feature == "iopub_welcome", f"a feature without a test: {feature}"
    assert content.get("debugger", False) == ("debugger" in content["supported_features"])


REQUESTS = {
    "kernel_info_request": {},
    "execute_request": {"code": "1"},
    "complete_request": {"code": "pri", "cursor_pos": 3},
    "inspect_request": {"code": "print", "cursor_pos": 5, "detail_level": 0},
    "is_complete_request": {"code": "1"},
    "history_request": {"hist_access_type": "tail", "output": False, "raw": True, "n": 1},
    "comm_info_request": {},
    "connect_request": {},
}
EXTRA = {"x_unknown_to_every_kernel": {"deep": [1, None, "ä"]}}


@pytest.mark.parametrize("msg_type", REQUESTS)
def test_the_parent_header_is_the_request_header_with_unknown_keys(kernel, msg_type):
    """`collect` compares it on the reply and on every IOPub message."""
    exchange = kernel.request("shell", msg_type, REQUESTS[msg_type], header=EXTRA)
    assert exchange.reply.parent_header["x_unknown_to_every_kernel"] == EXTRA["x_unknown_to_every_kernel"]
    assert exchange.reply.type == msg_type.replace("_request", "_reply")


@ours
@pytest.mark.parametrize("msg_type", REQUESTS)
def test_the_parent_header_is_the_request_header_byte_for_byte(kernel, msg_type):
    odd = {"x_number": 12345678901234567890123, "x_text": "\u2028é"}
    exchange = kernel.request("shell", msg_type, REQUESTS[msg_type], header=odd)
    for message in (exchange.reply, *exchange.iopub):
        assert message.raw[1] == exchange.request.raw[0], message


@pytest.mark.parametrize("channel", INFO_CHANNELS)
def test_a_request_is_framed_by_busy_and_idle_on_both_channels(kernel, channel):
    exchange = kernel.request(channel, "kernel_info_request")
    assert [m.content["execution_state"] for m in exchange.iopub] == ["busy", "idle"]


def test_messages_of_a_kernel_share_one_session(kernel):
    exchange = kernel.execute("print(1)")
    sessions = {m.header["session"] for m in (exchange.reply, *exchange.iopub)}
    assert len(sessions) == 1
    assert sessions != {kernel.session}


def test_execute_says_input_streams_display_result_and_count(kernel):
    exchange = kernel.execute_ok("import sys; print('a'); print('b', file=sys.stderr); display('c'); 4")
    assert sorted(exchange.outputs) == ["display_data", "execute_result", "stderr", "stdout"]
    (echo,) = exchange.of("execute_input")
    (result,) = exchange.of("execute_result")
    assert echo.content["code"].startswith("import sys")
    assert echo.content["execution_count"] == exchange.content["execution_count"]
    assert result.content["execution_count"] == exchange.content["execution_count"]


def test_an_error_says_the_same_on_shell_and_iopub(kernel):
    exchange = kernel.execute("1/0")
    (error,) = exchange.of("error")
    assert exchange.status == "error"
    for field in ("ename", "evalue", "traceback"):
        assert error.content[field] == exchange.content[field]
    assert error.content["ename"] == "ZeroDivisionError"


def test_an_update_names_the_display_it_updates(kernel):
    exchange = kernel.execute_ok("handle = display('old', display_id=True); handle.update('new')")
    shown, updated = exchange.of("display_data", "update_display_data")
    assert updated.type == "update_display_data"
    assert shown.content["transient"]["display_id"] == updated.content["transient"]["display_id"]


@pytest.mark.parametrize("wait", [False, True])
def test_clear_output_carries_wait(kernel, wait):
    exchange = kernel.execute_ok(f"from IPython.display import clear_output; clear_output(wait={wait})")
    assert [m.content for m in exchange.of("clear_output")] == [{"wait": wait}]


def complete(kernel, code, cursor=None):
    cursor = len(code) if cursor is None else cursor
    return kernel.request("shell", "complete_request", {"code": code, "cursor_pos": cursor}).content


def test_completion_replaces_the_word_under_the_cursor(kernel):
    code = "print(zi)"
    content = complete(kernel, code, 8)
    assert "zip" in content["matches"]
    assert (content["cursor_start"], content["cursor_end"]) == (6, 8)


def test_completion_counts_code_points_not_bytes_or_utf16(kernel):
    code = "'\N{GRINNING FACE}é'; isinst"
    content = complete(kernel, code)
    assert content["matches"] == ["isinstance"]
    assert (content["cursor_start"], content["cursor_end"]) == (len(code) - 6, len(code))


def test_completion_tells_the_types_of_its_matches(kernel):
    kinds = complete(kernel, "isinst")["metadata"]["_jupyter_types_experimental"]
    assert [(kind["text"], kind["type"]) for kind in kinds] == [("isinstance", "function")]


def test_completion_knows_the_names_of_the_session(kernel):
    kernel.execute_ok("a_name_of_the_session = {'key': 1}")
    assert complete(kernel, "a_name_of_the_s")["matches"] == ["a_name_of_the_session"]


def test_completion_without_matches_is_ok(kernel):
    assert complete(kernel, "zzzzzz_no_such")["matches"] == []


def inspect(kernel, code, detail=0, **more):
    asked = {"code": code, "cursor_pos": len(code), "detail_level": detail, **more}
    return kernel.request("shell", "inspect_request", asked).content


def test_inspection_shows_signature_and_at_level_1_the_source(kernel):
    kernel.execute_ok("def a_function(x):\n    'What it does.'\n    return x * 424242")
    short, long = (inspect(kernel, "a_function", level)["data"]["text/plain"] for level in (0, 1))
    assert "What it does." in short and "424242" not in short
    assert "424242" in long


def test_inspection_of_nothing_finds_nothing(kernel):
    content = inspect(kernel, "no_such_name_anywhere")
    assert (content["found"], content["data"], content["metadata"]) == (False, {}, {})


@pytest.mark.parametrize(
    ("code", "status", "indent"),
    [
        ("1 + 1", "complete", None),
        ("for i in range(3):", "incomplete", "    "),
        ("if x:\n    if y:", "incomplete", "        "),
        ("(1,", "incomplete", ""),
        ("%%bash", "incomplete", ""),
        ("1 = = 2", "invalid", None),
        ("await x", "complete", None),
        ("!ls", "complete", None),
    ],
)
def test_is_complete_knows_when_a_cell_ends(kernel, code, status, indent):
    content = kernel.request("shell", "is_complete_request", {"code": code}).content
    assert content["status"] == status
    assert content.get("indent") == indent or (indent == "" and status == "incomplete")


def history(kernel, access, **options):
    asked = {"hist_access_type": access, "output": False, "raw": True, **options}
    return kernel.request("shell", "history_request", asked).content["history"]


def test_history_tail_ends_with_the_last_cells(kernel):
    codes = ["'tail one'", "'tail two'"]
    for code in codes:
        kernel.execute_ok(code)
    assert [entry[2] for entry in history(kernel, "tail", n=2)] == codes


def test_history_pairs_input_and_output_when_asked(kernel):
    """IPython keeps outputs in its database only on demand, so the output of a tail may be null."""
    kernel.execute_ok("'an output'")
    kernel.execute_ok("no_output = 1")
    first, second = (entry[2] for entry in history(kernel, "tail", n=2, output=True))
    assert first in (["'an output'", None], ["'an output'", "'an output'"])
    assert second == ["no_output = 1", None]


def test_history_range_of_session_0_is_this_session(kernel):
    count = kernel.execute_ok("'in the range'").content["execution_count"]
    for output, wanted in ((False, "'in the range'"), (True, ["'in the range'", "'in the range'"])):
        entries = history(kernel, "range", session=0, start=count, stop=count + 1, output=output)
        assert [entry[1:] for entry in entries] == [[count, wanted]]


def test_history_search_matches_a_glob_and_unique_drops_repetitions(kernel):
    for code in ("needle = 1", "needle = 2", "needle = 1"):
        kernel.execute_ok(code)
    found = [entry[2] for entry in history(kernel, "search", pattern="needle = *", n=10)]
    unique = [entry[2] for entry in history(kernel, "search", pattern="needle = *", n=10, unique=True)]
    assert found == ["needle = 1", "needle = 2", "needle = 1"]
    assert sorted(unique) == ["needle = 1", "needle = 2"]
    assert len(history(kernel, "search", pattern="needle = *", n=1)) == 1


def test_history_raw_false_gives_translated_input(kernel):
    kernel.execute_ok("%who_ls str")
    (entry,) = history(kernel, "tail", n=1, raw=False)
    assert entry[2].strip() == "get_ipython().run_line_magic('who_ls', 'str')"


OPEN_TARGET = """
def _opened(comm, message):
    comm.send({'opened with': message['content']['data']})
    @comm.on_msg
    def _echo(message):
        comm.send({'echo': message['content']['data']}, buffers=message['buffers'])
get_ipython().kernel.comm_manager.register_target('schema-target', _opened)
"""


@pytest.mark.packages
def test_comms_open_talk_are_listed_and_close(kernel):
    kernel.execute_ok(OPEN_TARGET)
    opening = {"comm_id": "schema-1", "target_name": "schema-target", "data": {"a": 1}}
    opened = kernel.take_until_idle(kernel.send("shell", "comm_open", opening))
    assert [m.content["data"] for m in opened if m.type == "comm_msg"] == [{"opened with": {"a": 1}}]

    asked = kernel.send(
        "shell", "comm_msg", {"comm_id": "schema-1", "data": {"b": 2}}, buffers=[b"\0\xffbin", b""]
    )
    (echo,) = [m for m in kernel.take_until_idle(asked) if m.type == "comm_msg"]
    assert echo.content["data"] == {"echo": {"b": 2}}
    assert echo.buffers == [b"\0\xffbin", b""]

    listed = kernel.request("shell", "comm_info_request", {"target_name": "schema-target"}).content["comms"]
    assert listed == {"schema-1": {"target_name": "schema-target"}}
    assert kernel.request("shell", "comm_info_request", {"target_name": "another"}).content["comms"] == {}
    assert "schema-1" in kernel.request("shell", "comm_info_request").content["comms"]

    kernel.take_until_idle(kernel.send("shell", "comm_close", {"comm_id": "schema-1", "data": {}}))
    assert "schema-1" not in kernel.request("shell", "comm_info_request").content["comms"]


def test_a_comm_for_an_unknown_target_is_closed(kernel):
    opening = {"comm_id": "schema-2", "target_name": "no such target", "data": {}}
    said = kernel.take_until_idle(kernel.send("shell", "comm_open", opening))
    assert [m.content["comm_id"] for m in said if m.type == "comm_close"] == ["schema-2"]


@pytest.mark.packages
def test_a_comm_opened_by_the_kernel_has_all_three_messages(kernel):
    code = (
        "from comm import create_comm; c = create_comm('front', data={'x': 1}); c.send({'y': 2}); c.close()"
    )
    said = kernel.execute_ok(code).of("comm_open", "comm_msg", "comm_close")
    assert [m.type for m in said] == ["comm_open", "comm_msg", "comm_close"]
    assert {m.content["comm_id"] for m in said} == {said[0].content["comm_id"]}
    assert said[0].content["target_name"] == "front"


def test_connect_is_answered(kernel):
    assert kernel.request("shell", "connect_request").status == "ok"


@ours
def test_connect_gives_the_five_ports(kernel):
    content = kernel.request("shell", "connect_request").content
    names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
    assert {name: content[name] for name in names} == {name: getattr(kernel.manager, name) for name in names}


def test_usage_on_control_tells_the_kernels_memory(start_kernel):
    """Its own kernel: ipykernel leaves `kernel_memory` out without psutil."""
    kernel = start_kernel()
    kernel.execute_ok("pass")
    exchange = kernel.request("control", "usage_request")
    assert exchange.reply.type == "usage_reply"
    assert exchange.content["pid"] in kernel.processes()
    assert exchange.content["kernel_memory"] > 10 << 20


def test_an_interrupt_request_is_answered_and_framed(kernel):
    kernel.interrupt_by_message()


def test_an_input_request_has_the_cell_as_parent(kernel):
    cell = kernel.start("input('question ')", allow_stdin=True)
    asked = kernel.recv_stdin_request()
    assert asked.parent_header == cell.header
    kernel.answer_input("answer")
    assert kernel.collect(cell).result == "'answer'"


def test_shutdown_is_answered_on_control_and_told_on_iopub(start_kernel):
    kernel = start_kernel()
    reply = kernel.shut_down()
    told = kernel.take("iopub", lambda m: m.type == "shutdown_reply", "shutdown_reply on iopub")
    assert told.content == reply.content
    assert told.parent_header == reply.parent_header
    kernel.assert_all_gone()
    kernel.kill()


def subscribe(kernel, topic=b""):
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.linger = 0
    socket.rcvtimeo = 20_000
    socket.subscribe(topic)
    socket.connect(f"tcp://{kernel.manager.ip}:{kernel.manager.iopub_port}")
    return socket


@ours
def test_every_subscriber_is_welcomed_before_anything_else(kernel):
    for topic in (b"", b"", b"kernel"):
        with subscribe(kernel, topic) as socket:
            welcome = unpack("iopub", socket.recv_multipart(), kernel.key)
            assert welcome.type == "iopub_welcome"
            assert welcome.content == {"subscription": topic.decode()}
            assert welcome.parent_header == {}


@ours
def test_a_second_subscriber_hears_the_same_bytes_as_the_first(kernel):
    with subscribe(kernel) as socket:
        assert unpack("iopub", socket.recv_multipart(), kernel.key).type == "iopub_welcome"
        exchange = kernel.execute_ok("print('both'); 1")
        heard = [unpack("iopub", socket.recv_multipart(), kernel.key).raw for _ in exchange.iopub]
    assert heard == [m.raw for m in exchange.iopub]


@ours
def test_strings_are_json_that_every_parser_accepts(kernel):
    """No lone surrogate and no NaN literal leaves the kernel; RFC 8259 knows neither."""
    exchange = kernel.execute_ok(
        "display({'application/json': {'x': float('nan')}}, raw=True); print('\\ud800')"
    )
    for message in exchange.iopub:
        for part in message.raw:
            json.loads(part.decode("utf-8"), parse_constant=refuse)


def refuse(constant):
    pytest.fail(f"{constant} in a message")
