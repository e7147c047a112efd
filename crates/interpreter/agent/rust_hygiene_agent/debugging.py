"""The thread that answers `debug_request`s: the main thread cannot, while it is stopped in user code.

It is started by the first request. Its frames have a channel of their own, so whatever the main thread holds while it is stopped,
an answer gets out. debugpy is told to leave it alone, for it must go on when all threads are stopped.
"""

import json
import threading

from .frames import ChannelClosed, Frames, dumps


def leave_alone(thread):
    """Lets debugpy neither trace nor stop a thread of ours, nor show it."""
    thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True


def start(kernel, fd):
    """Starts the thread. Called on the thread that saw the first request."""
    leave_alone(threading.current_thread())
    thread = threading.Thread(target=_serve, args=(kernel, fd), name="Debugger", daemon=True)
    leave_alone(thread)
    thread.start()


class DebugChannel(Frames):
    """The channel of debug requests, replies and events."""

    def receive(self):
        """The next frame."""
        return self.frame()

    @property
    def has_pending(self):
        """True if bytes of a further frame have already been read."""
        return len(self._pending) > 0

    def send(self, envelope, content):
        """Sends the reply or event with this content."""
        self._write([dumps(envelope), dumps(content)])


def _serve(kernel, fd):
    from .dap import readable
    from .debugger import Debugger

    front = DebugChannel(fd)
    debugger = kernel.debugger = Debugger(kernel, lambda event: front.send({"op": "event"}, event))
    try:
        while True:
            ready = [] if front.has_pending else readable([*debugger.sources, front.socket])
            if ready and ready[0] is not front.socket:  # first what has happened, then the questions about it
                debugger.take_events()
                continue
            envelope, sections = front.receive()
            front.send({"op": "reply", "id": envelope["id"]}, _answer(debugger, bytes(sections[0])))
    except (ChannelClosed, OSError):
        # The front is gone, and with it this process; or a cell has closed the channel, and the number may be another file's by now.
        front.socket.detach()


def _answer(debugger, content):
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        message = None
    return debugger.answer(message)
