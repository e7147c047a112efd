"""What the hostile tests share: a watch over the front's memory, signs of life, and a client that is left alone."""

import contextlib
import threading
import time

import zmq
from fuzz import resident

MIB = 1 << 20

# What the front may hold while strangers attack it, bytes.
SMALL = 64 * MIB

# Seconds within which everything hostile must be over.
SOON = 10

SAMPLE_S = 0.02

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class Watch(threading.Thread):
    """Samples the resident memory of the front; the interpreter's is not looked at."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.highest = resident(pid)
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(SAMPLE_S):
            self.highest = max(self.highest, resident(self.pid))

    def stop(self):
        self.over.set()
        self.join()
        self.highest = max(self.highest, resident(self.pid))


@contextlib.contextmanager
def watched(kernel, limit=SMALL):
    """Fails if the front was ever larger than `limit` bytes, or is at the end; says what it was."""
    watch = Watch(kernel.pid)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()
        print(f"front: at most {watch.highest / MIB:.1f} MiB, now {resident(kernel.pid) / MIB:.1f} MiB")
    assert watch.highest <= limit, f"the front grew to {watch.highest / MIB:.1f} MiB"


def assert_shrinks(kernel):
    """What the front held for others is given back soon after they are gone."""
    deadline = time.monotonic() + SOON
    while (held := resident(kernel.pid)) > SMALL:
        assert time.monotonic() < deadline, f"the front still holds {held / MIB:.1f} MiB"
        kernel.pump(0.05)


def port(kernel, channel):
    return getattr(kernel.manager, f"{channel}_port")


def address(kernel, channel):
    return kernel.manager.ip, port(kernel, channel)


def beat(kernel):
    """The heartbeat answers."""
    with zmq.Context.instance().socket(zmq.REQ) as heart:
        heart.linger, heart.rcvtimeo = 0, SOON * 1000
        heart.connect(f"tcp://{kernel.manager.ip}:{port(kernel, 'hb')}")
        heart.send(b"beat")
        assert heart.recv() == b"beat"


def assert_front_lives(kernel):
    """Heartbeat and control answer, whatever the interpreter does."""
    beat(kernel)
    kernel.request("control", "kernel_info_request", timeout=SOON)


def forget_strangers(kernel):
    """Drops what other clients' requests put on IOPub; ours were all read."""
    kernel.pump(0)
    ours = [m for m in kernel.unread["iopub"] if m.parent_header.get("session") == kernel.session]
    kernel.unread["iopub"] = ours


def works(kernel, number):
    """One cell that prints, shows a result and counts, each of which must be right."""
    exchange = kernel.execute(f"print('cell', {number}); {number} * {number}", timeout=SOON)
    assert exchange.status == "ok", exchange.content
    assert (exchange.stdout, exchange.result) == (f"cell {number}\n", str(number * number))


def works_while(kernel, goes_on):
    """Cells, one after the other, as long as `goes_on()`; how many."""
    number = 0
    while True:
        last = not goes_on()
        works(kernel, number)
        forget_strangers(kernel)
        number += 1
        if last:
            return number


def is_from_elsewhere(kernel):
    """For `tolerates`: messages whose request is not of this client, such as the birth of an interpreter."""
    return lambda m: m.parent_header.get("session") != kernel.session
