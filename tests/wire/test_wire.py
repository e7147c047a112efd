"""The wire against real libzmq clients and against everything that is not one."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import zmq
from clients import (
    CHANNELS,
    MIB,
    TIMEOUT,
    Client,
    Kernel,
    assert_serves,
    closed_by_peer,
    echo_binary,
    eventually,
    frame,
    greeting,
    multipart,
    ready,
    socket_type,
)
from zmq.utils.monitor import recv_monitor_message


def failed_start(file: Path) -> str:
    """What a kernel that cannot start says."""
    command = [echo_binary(), str(file)]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert run.returncode == 1
    return run.stderr


# Envelopes


def test_a_request_is_answered_between_busy_and_idle(client):
    client.subscribe()
    reply = client.ask("thing_request", {"a": [1, "é"]}, buffers=[b"\0binary", b""])
    assert reply["msg_type"] == "thing_reply"
    assert reply["content"] == {"a": [1, "é"]}
    assert [bytes(b) for b in reply["buffers"]] == [b"\0binary", b""]
    states = [m["content"]["execution_state"] for m in client.until_idle()]
    assert states == ["busy", "idle"]


def test_the_header_of_the_request_is_the_parent_header_byte_for_byte(client):
    client.subscribe()
    header = b'{ "msg_id":"m1","msg_type" :"odd_request","subshell_id":null,"extra":1e400,"date":"x" }'
    sections = [header, b"{}", b"{}", b'{"n": 12345678901234567890}']
    wire = [b"<IDS|MSG>", client.session.sign(sections), *sections]
    client.socket("shell").send_multipart(wire)
    reply = client.socket("shell").recv_multipart()
    at = reply.index(b"<IDS|MSG>")
    assert reply[at + 3] == header
    assert reply[at + 5] == sections[3]
    published = client.socket("iopub").recv_multipart()
    assert published[published.index(b"<IDS|MSG>") + 3] == header


def test_our_headers_say_what_the_protocol_asks_for(client):
    header = client.ask("thing_request")["header"]
    assert set(header) == {"msg_id", "msg_type", "username", "session", "date", "version"}
    assert header["version"] == "5.5" and header["msg_id"].startswith(header["session"])
    assert header["date"].utcoffset().total_seconds() == 0


def test_a_wrong_key_gets_no_answer_and_harms_nobody(client, connect):
    stranger = connect(key="another key")
    stranger.send("thing_request")
    assert stranger.socket("shell").poll(300) == 0
    assert_serves(client)


def test_a_replayed_message_is_served_once(client):
    message = client.session.serialize(client.session.msg("thing_request"))
    shell = client.socket("shell")
    for _ in range(3):
        shell.send_multipart(message)
    assert client.receive()["msg_type"] == "thing_reply"
    assert client.ask("other_request")["msg_type"] == "other_reply"
    assert shell.poll(300) == 0


def test_without_a_key_unsigned_messages_are_served(tmp_path):
    kernel = Kernel(tmp_path, key="")
    client = Client(kernel)
    client.subscribe()
    assert client.ask("thing_request")["header"]["msg_type"] == "thing_reply"
    client.close()
    kernel.stop()


def test_the_stdin_channel_reaches_the_client_that_asked_on_shell(client):
    client.socket("stdin")
    assert client.ask("ask_request", {"prompt": "name?"})["msg_type"] == "ask_reply"
    question = client.receive("stdin")
    assert (question["msg_type"], question["content"]) == ("input_request", {"prompt": "name?"})
    client.subscribe()
    client.send("input_reply", {"value": "x"}, channel="stdin")
    assert client.published()["content"] == {"value": "x"}


def test_control_overtakes_a_flooded_shell(client):
    client.ask("first_request", channel="control")
    client.subscribe()
    for _ in range(400):
        client.send("slow_request", {"x": "y" * 20_000})
    client.send("urgent_request", channel="control")
    served = []
    while len(served) < 401:
        message = client.published()
        if message["content"]["execution_state"] == "busy":
            served.append(message["parent_header"]["msg_type"])
    assert "urgent_request" in served[:300]


# What is not a message


@pytest.mark.parametrize("channel", ["shell", "control", "stdin"])
def test_no_multipart_of_any_shape_stops_the_channel(client, connect, channel):
    good = client.session.serialize(client.session.msg("thing_request"))
    delimiter = b"<IDS|MSG>"
    shapes = [
        [b""],
        [delimiter],
        [delimiter] * 9,
        [b"x"] * 3000,
        [b"x"] * 4096,
        *[good[:n] for n in range(1, len(good))],
        [delimiter, b"\xff" * 64, *good[2:]],
        [delimiter, b"zz", *good[2:]],
        [delimiter, *good],
        [b"\0" * 70_000, *good[1:]],
        good[1:],
    ]
    for header in (b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"msg_id":1}', b"[" * 100_000, b"{" * 70_000):
        sections = [header, *good[3:]]
        shapes.append([delimiter, client.session.sign(sections), *sections])
    for shape in shapes:
        client.socket(channel).send_multipart(shape)
    client.subscribe()
    client.send("input_reply" if channel == "stdin" else "thing_request", {"after": 1}, channel=channel)
    assert client.published()["content"] in ({"after": 1}, {"execution_state": "busy"})
    assert_serves(connect())


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_forged_length_closes_the_connection_only(kernel, client, channel):
    forged = b"\x02" + (1 << 62).to_bytes(8, "big")
    openings = [
        greeting() + forged,
        greeting() + b"\x06" + (1 << 62).to_bytes(8, "big"),
        greeting() + ready(socket_type(channel)) + forged,
        greeting() + ready(socket_type(channel)) + b"\x03" + (1 << 63).to_bytes(8, "big"),
        greeting() + ready(socket_type(channel)) + b"\x02" + (1 << 40).to_bytes(8, "big"),
    ]
    assert len(openings[0]) == 73
    for opening in openings:
        raw = kernel.raw(channel)
        raw.sendall(opening)
        assert closed_by_peer(raw)
    assert_serves(client)
    assert kernel.rss() < 64 * MIB


@pytest.mark.parametrize("channel", CHANNELS)
def test_other_protocols_are_refused(kernel, client, channel):
    openings = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"SSH-2.0-OpenSSH_9.6\r\n",
        os.urandom(500).lstrip(b"\xff"),
        greeting(b"CURVE"),
        greeting(b"PLAIN"),
        greeting(major=1),
        greeting() + ready(b"PUB"),
        greeting() + ready(b"DEALER" if channel == "iopub" else b"SUB"),
        greeting() + frame(b"\x05READY\xff", 4),
        greeting() + frame(b"a message"),
    ]
    for opening in openings:
        raw = kernel.raw(channel)
        raw.sendall(opening)
        assert closed_by_peer(raw), opening
    assert_serves(client)


def test_silent_and_half_handshakes_are_ended_by_the_time_limit(tmp_path):
    kernel = Kernel(tmp_path, ECHO_HANDSHAKE_MS="300")
    before = kernel.descriptors()
    raws = []
    for channel in CHANNELS:
        for opening in (b"", b"\xff", greeting()[:40], greeting(), greeting() + ready(b"DEALER")[:9]):
            raws.append(kernel.raw(channel))
            raws[-1].sendall(opening)
    assert all(closed_by_peer(raw) for raw in raws)
    assert eventually(lambda: kernel.descriptors() <= before)
    client = Client(kernel)
    assert_serves(client)
    client.close()
    kernel.stop()


def test_a_frame_too_many_and_a_message_too_large_are_refused(kernel, client):
    raw = kernel.raw("shell")
    raw.sendall(greeting() + ready(b"DEALER") + frame(b"x", 1) * 4097)
    assert closed_by_peer(raw)
    raw = kernel.raw("hb")
    raw.sendall(greeting() + ready(b"REQ") + frame(b"", 1) + frame(b"x" * (2 * MIB)))
    assert closed_by_peer(raw)
    raw = kernel.raw("iopub")
    raw.sendall(greeting() + ready(b"SUB") + frame(b"\x01" + b"x" * 5000))
    assert closed_by_peer(raw)
    assert_serves(client)


def test_a_client_with_zmtp_heartbeats_stays_connected(connect):
    client = connect(heartbeat_ms=50)
    client.subscribe()
    monitors = [client.socket(channel).get_monitor_socket() for channel in ("shell", "iopub")]
    assert client.ask("thing_request")
    time.sleep(0.5)
    assert client.ask("thing_request")
    client.until_idle(), client.until_idle()
    assert client.beat() == b"beat"
    for monitor in monitors:
        while monitor.poll(0):
            event = recv_monitor_message(monitor)["event"]
            assert event != zmq.EVENT_DISCONNECTED


# Many clients


def test_a_storm_of_connections_leaves_nothing_behind(kernel, client):
    assert_serves(client)
    before = kernel.descriptors()
    raws = [kernel.raw(channel) for channel in ("shell", "iopub", "hb") for _ in range(100)]
    assert_serves(client)
    for raw in raws:
        raw.close()
    for _ in range(100):
        for channel in ("shell", "iopub", "hb"):
            raw = kernel.raw(channel)
            raw.sendall(greeting() + ready(socket_type(channel)))
            raw.close()
    assert eventually(lambda: kernel.descriptors() <= before + 5)
    assert_serves(client)


def test_three_hundred_clients_are_served_at_once(kernel, client):
    dealers = []
    for _ in range(300):
        dealer = client.context.socket(zmq.DEALER)
        dealer.linger, dealer.rcvtimeo = 0, TIMEOUT
        dealer.connect(kernel.url("shell"))
        client.session.send(dealer, "thing_request")
        dealers.append(dealer)
    for dealer in dealers:
        assert b"<IDS|MSG>" in dealer.recv_multipart()


def test_a_client_that_comes_back_under_its_identity_gets_its_replies(kernel, client):
    for number in range(50):
        again = Client(kernel)
        again.session = client.session
        assert again.ask("thing_request", {"n": number})["content"] == {"n": number}
        again.close()


# Size


def test_fifty_megabytes_travel_both_ways_and_leave_no_memory_behind(kernel, client):
    client.subscribe()
    payload = os.urandom(50 * MIB)
    reply = client.ask("mirror_request", {"text": "é" * (5 * MIB)}, buffers=[payload])
    assert bytes(reply["buffers"][0]) == payload
    assert reply["content"]["text"] == "é" * (5 * MIB)
    mirrored = client.until_idle()[1]
    assert bytes(mirrored["buffers"][0]) == payload
    assert eventually(lambda: kernel.rss() < 64 * MIB), kernel.rss() / MIB
    assert client.ask("thing_request")["msg_type"] == "thing_reply"


def test_many_medium_payloads_keep_their_order_and_bytes(client):
    sizes = [0, 1, 255, 256, 65_535, 65_536, 65_537, 131_072, 1_000_000, 3_333_333]
    sent = [os.urandom(size) for size in sizes]
    requests = [client.send("thing_request", {"n": n}, buffers=[b, b"end"]) for n, b in enumerate(sent)]
    for number, (request, body) in enumerate(zip(requests, sent)):
        reply = client.receive()
        assert reply["parent_header"]["msg_id"] == request["header"]["msg_id"]
        assert reply["content"] == {"n": number}
        assert [bytes(b) for b in reply["buffers"]] == [body, b"end"]


def test_a_message_sent_just_before_its_client_leaves_is_served(kernel, client):
    client.subscribe()
    leaver = Client(kernel)
    leaver.socket("shell").linger = -1
    leaver.send("mirror_request", {"last": "words"}, buffers=[bytes(5 * MIB)])
    leaver.socket("shell").close()
    leaver.context.term()
    assert client.until_idle()[1]["content"] == {"last": "words"}


def test_half_a_message_leaves_no_memory_behind(kernel, client):
    raws = []
    for _ in range(4):
        raw = kernel.raw("shell")
        head = multipart([b"id", b"x" * (30 * MIB)])
        raw.sendall(greeting() + ready(b"DEALER") + head[: 25 * MIB])
        raws.append(raw)
    for raw in raws:
        raw.close()
    assert eventually(lambda: kernel.rss() < 64 * MIB), kernel.rss() / MIB
    assert_serves(client)


# Start


def test_a_port_in_use_is_named_with_what_to_do(kernel):
    error = failed_start(kernel.file)
    assert "in use" in error and "new ports" in error
    assert str(kernel.connection["shell_port"]) in error


def test_an_encrypted_connection_is_refused_with_an_explanation(kernel, tmp_path):
    file = tmp_path / "curve.json"
    file.write_text(json.dumps(kernel.connection | {"curve_publickey": "x"}))
    error = failed_start(file)
    assert "transport_encryption" in error


def test_ipc_serves_over_a_stale_socket_and_refuses_a_living_one(tmp_path):
    kernel = Kernel(tmp_path, transport="ipc")
    kernel.stop()
    assert (tmp_path / "k-1").exists()
    kernel.start()
    client = Client(kernel)
    client.subscribe()
    assert_serves(client)
    error = failed_start(kernel.file)
    assert "in use" in error
    assert_serves(client)
    client.close()
    kernel.stop()


def test_no_private_file_is_left_while_the_kernel_runs(tmp_path):
    private = tmp_path / "private"
    private.mkdir()
    kernel = Kernel(tmp_path, TMPDIR=str(private))
    client = Client(kernel)
    assert_serves(client)
    assert list(private.iterdir()) == []
    client.close()
    kernel.stop()


def test_random_input_at_every_port_leaves_the_kernel_alive_and_small(kernel):
    from fuzz import main

    ports = {channel: kernel.connection[f"{channel}_port"] for channel in CHANNELS}
    report = main(int(os.environ.get("WIRE_FUZZ", "2000")), 1, ports, kernel.key, kernel.process.pid)
    assert report["alive"] and report["probes_answered"] == report["probes"]
    assert report["rss"] < 128 * MIB


def test_a_heartbeat_is_answered_while_another_client_does_not_read(kernel, client):
    deaf = kernel.raw("hb")
    deaf.sendall(greeting() + ready(b"REQ"))
    deaf.settimeout(0.2)

    def shout():
        try:
            while True:
                deaf.sendall(multipart([b"", b"x" * 60_000]))
        except OSError:
            pass

    thread = threading.Thread(target=shout)
    thread.start()
    thread.join()
    assert client.beat() == b"beat"
    deaf.close()
