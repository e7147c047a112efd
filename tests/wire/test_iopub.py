"""IOPub with real libzmq subscribers: welcome, topics, a stopped one, floods, the last message before exit."""

from __future__ import annotations

import signal
import subprocess
import sys

from clients import MIB, Client, eventually


def test_every_subscriber_and_every_subscription_is_welcomed(connect):
    for topic in (b"", b"kernel.", b"\xe9"):
        client = connect()
        client.socket("iopub").subscribe(topic)
        frames = client.socket("iopub").recv_multipart()
        assert frames[0] == topic
        message = client.session.deserialize(client.session.feed_identities(frames)[1])
        assert message["msg_type"] == "iopub_welcome"
        assert message["content"] == {"subscription": topic.decode(errors="replace")}
        assert message["parent_header"] == {}
    second = client.socket("iopub")
    second.subscribe(b"another")
    assert second.recv_multipart()[0] == b"another"


def test_a_topic_selects_what_a_subscriber_gets(connect):
    client = connect()
    session = client.ask("thing_request")["header"]["session"]
    client.subscribe(f"kernel.{session}.mirror".encode())
    client.ask("mirror_request", {"only": "this"})
    assert client.published()["content"] == {"only": "this"}
    assert client.socket("iopub").poll(200) == 0


def test_a_stopped_subscriber_is_disconnected_and_the_others_get_everything(kernel, client):
    client.ask("thing_request")
    client.subscribe()
    script = (
        "import zmq, sys; s = zmq.Context().socket(zmq.SUB); s.rcvhwm = 100; s.connect(sys.argv[1]);"
        "s.subscribe(b''); s.recv_multipart(); print('ready', flush=True)\n"
        "while True: s.recv_multipart()"
    )
    command = [sys.executable, "-c", script, kernel.url("iopub")]
    stopped = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert stopped.stdout.readline() == b"ready\n"
    stopped.send_signal(signal.SIGSTOP)
    connections = kernel.descriptors()
    highest = 0
    count, size = 30_000, 10_000
    client.send("flood_request", {"count": count, "size": size})
    assert client.published()["content"] == {"execution_state": "busy"}
    for number in range(count):
        assert client.published()["content"]["text"].startswith(f"{number} ")
        if number % 1000 == 0:
            highest = max(highest, kernel.rss())
    assert client.published()["content"] == {"execution_state": "idle"}
    assert kernel.descriptors() < connections
    stopped.kill()
    stopped.wait()
    assert highest < 256 * MIB
    assert eventually(lambda: kernel.rss() < 64 * MIB), kernel.rss() / MIB


def test_no_line_of_a_flood_is_lost(client):
    client.subscribe()
    client.send("flood_request", {"count": 100_000, "size": 20})
    messages = client.until_idle()
    assert [m["content"]["text"].split()[0] for m in messages[1:-1]] == [str(n) for n in range(100_000)]


def test_everything_is_delivered_before_exit(kernel, tmp_path):
    kernel.stop()
    for count, size in ((1, 10), (1000, 100), (3, 20 * MIB)):
        kernel.start()
        client = Client(kernel)
        client.subscribe()
        attachment = bytes(count * size)
        client.send("quit_request", {"count": count, "size": size}, buffers=[attachment])
        assert bytes(client.receive()["buffers"][0]) == attachment
        assert len(client.until_idle()) == count + 2
        assert kernel.process.wait(20) == 0
        client.close()
    kernel.start()
