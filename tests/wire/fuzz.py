"""Random and mutated frames and multiparts for every port.

python fuzz.py CONNECTION_FILE [N] [SEED]
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from pathlib import Path

import zmq
from clients import frame, greeting, multipart, ready, socket_type
from jupyter_client.session import Session

PROBE_EVERY = 1000
BATCH = 16  # inputs that one write carries
DELIMITER = b"<IDS|MSG>"


class Fuzzer:
    """Makes inputs: whole valid streams, then damaged ones."""

    def __init__(self, seed: int, key: str):
        self.random = random.Random(seed)
        self.session = Session(key=key.encode())
        self.stranger = Session(key=b"another key")

    def blob(self, limit: int = 300) -> bytes:
        return self.random.randbytes(int(self.random.random() ** 3 * limit))

    def message(self) -> list[bytes]:
        session = self.random.choice((self.session, self.stranger))
        kind = self.random.choice(("thing_request", "mirror_request", "", "é"))
        return session.serialize(session.msg(kind, {"x": self.blob().hex()}))

    def frames(self) -> list[bytes]:
        """A multipart that is sometimes a message."""
        choice = self.random.random()
        if choice < 0.2:
            frames = [self.blob(200_000 if self.random.random() < 0.01 else 300) for _ in range(self.few())]
        else:
            frames = self.message()
        for _ in range(self.few() if choice < 0.7 else 0):
            at = self.random.randrange(len(frames))
            action = self.random.randrange(5)
            if action == 0:
                frames[at] = self.blob()
            elif action == 1 and len(frames) > 1:
                del frames[at]
            elif action == 2:
                frames.insert(at, self.random.choice((DELIMITER, b"", self.blob())))
            elif action == 3:
                frames[at] = self.flip(frames[at])
            else:
                self.random.shuffle(frames)
        return frames

    def few(self) -> int:
        return self.random.choice((1, 1, 1, 2, 3, 8, 40))

    def flip(self, data: bytes) -> bytes:
        if not data:
            return b"\0"
        mutable = bytearray(data)
        mutable[self.random.randrange(len(mutable))] ^= 1 << self.random.randrange(8)
        return bytes(mutable)

    def input(self, channel: str) -> tuple[bytes, bool]:
        """Bytes to send after the handshake, and whether the server may keep the connection."""
        choice = self.random.random()
        if channel == "iopub" and choice < 0.5:
            return frame(self.random.choice((b"\0", b"\1", b"")) + self.blob(60)), True
        if choice < 0.85:
            frames = self.frames()
            if channel == "hb" and self.random.random() < 0.7:
                frames = [b"", *frames]
            return multipart(frames), True
        if choice < 0.93:
            name = self.random.choice(
                (b"PING\0\0", b"PONG", b"SUBSCRIBE", b"CANCEL", b"READY", b"ERROR", b"")
            )
            return frame(bytes([self.random.choice((4, 5, 6, 9, 200))]) + name + self.blob(40), 4), True
        if choice < 0.96:
            length = self.random.choice(
                (1 << 20, 1 << 31, 1 << 40, 1 << 62, (1 << 63) - 65538, (1 << 64) - 1)
            )
            return bytes([self.random.choice((2, 3, 6))]) + length.to_bytes(8, "big") + self.blob(), False
        return self.flip(multipart(self.frames())) + self.blob(), False

    def opening(self, channel: str) -> tuple[bytes, bool]:
        """A handshake, and whether it is a good one."""
        good = greeting() + ready(socket_type(channel), self.blob(20) if self.random.random() < 0.3 else b"")
        if self.random.random() < 0.8:
            return good, True
        damaged = self.flip(good[: self.random.randrange(len(good) + 1)])
        return damaged + (self.blob() if self.random.random() < 0.5 else b""), False


class Door:
    """A raw connection to one port that is opened again when the server ends it."""

    def __init__(self, fuzzer: Fuzzer, channel: str, port: int):
        self.fuzzer, self.channel, self.port = fuzzer, channel, port
        self.raw: socket.socket | None = None

    def open(self) -> None:
        self.close()
        opening, good = self.fuzzer.opening(self.channel)
        self.raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.raw.sendall(opening)
        if not good:
            self.close()
            self.open()

    def close(self) -> None:
        if self.raw is not None:
            self.raw.close()
        self.raw = None

    def throw(self, count: int) -> int:
        """Sends up to `count` inputs in one write, the last of which may end the connection; how many they were."""
        parts, keep = [], True
        for _ in range(count):
            part, keep = self.fuzzer.input(self.channel)
            parts.append(part)
            if not keep:
                break
        try:
            if self.raw is None:
                self.open()
            self.raw.sendall(b"".join(parts))
            self.raw.setblocking(False)
            while self.raw.recv(1 << 20):
                pass
            keep = False
        except BlockingIOError:
            self.raw.settimeout(10)
        except OSError:
            keep = False
        if not keep:
            self.close()
        return len(parts)


class Probe:
    """A well-behaved client that must be answered, whatever else arrives."""

    def __init__(self, ports: dict[str, int], key: str):
        self.context = zmq.Context()
        self.session = Session(key=key.encode())
        self.asked = self.answered = 0
        self.sockets = {}
        for channel, kind in (
            ("shell", zmq.DEALER),
            ("control", zmq.DEALER),
            ("hb", zmq.REQ),
            ("iopub", zmq.SUB),
        ):
            new = self.context.socket(kind)
            new.linger, new.rcvtimeo = 0, 20_000
            new.connect(f"tcp://127.0.0.1:{ports[channel]}")
            self.sockets[channel] = new

    def ask(self) -> None:
        for channel in ("shell", "control"):
            self.asked += 1
            request = self.session.send(self.sockets[channel], "probe_request")
            _, frames = self.session.feed_identities(self.sockets[channel].recv_multipart())
            parent = self.session.deserialize(frames)["parent_header"]
            self.answered += parent["msg_id"] == request["header"]["msg_id"]
        self.asked += 1
        self.sockets["hb"].send(b"beat")
        self.answered += self.sockets["hb"].recv() == b"beat"
        self.asked += 1
        topic = f"probe {self.asked}".encode()
        self.sockets["iopub"].subscribe(topic)
        self.answered += self.sockets["iopub"].recv_multipart()[0] == topic
        self.sockets["iopub"].unsubscribe(topic)


def resident(pid: int) -> int:
    """Resident bytes of a process, see proc_pid_statm(5)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def main(n: int, seed: int, ports: dict[str, int], key: str, pid: int | None = None) -> dict:
    """Throws `n` inputs at the ports in turn; reports whether the server is alive, answers, and stays small."""
    fuzzer = Fuzzer(seed, key)
    doors = [Door(fuzzer, channel, port) for channel, port in ports.items()]
    probe = Probe(ports, key)
    thrown, highest, start = 0, 0, time.monotonic()
    next_probe = 0
    alive = True
    try:
        while thrown < n:
            count = min(BATCH, n - thrown)
            thrown += fuzzer.random.choice(doors).throw(count)
            if thrown >= next_probe:
                next_probe += PROBE_EVERY
                probe.ask()
                highest = max(highest, resident(pid) if pid else 0)
        probe.ask()
    except (OSError, zmq.ZMQError) as error:
        alive = False
        print(f"after {thrown} inputs: {error!r}", file=sys.stderr)
    for door in doors:
        door.close()
    probe.context.destroy(linger=0)
    return {
        "inputs": thrown,
        "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
        "alive": alive,
        "probes": probe.asked,
        "probes_answered": probe.answered,
        "rss": resident(pid) if pid and alive else 0,
        "rss_highest": highest,
    }


def command_line() -> int:
    connection = json.loads(Path(sys.argv[1]).read_text())
    n, seed = (int(value) for value in (sys.argv[2:] + ["20000", "1"][len(sys.argv) - 2 :])[:2])
    ports = {
        channel: connection[f"{channel}_port"] for channel in ("shell", "iopub", "stdin", "control", "hb")
    }
    report = main(n, seed, ports, connection["key"])
    print(json.dumps(report))
    return 0 if report["alive"] and report["probes"] == report["probes_answered"] else 1


if __name__ == "__main__":
    sys.exit(command_line())
