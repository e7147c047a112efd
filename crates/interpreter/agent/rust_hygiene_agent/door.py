"""The door: what the front asks for while the main thread runs a cell. A small thread waits here; it does nothing of the user's."""

import _thread
import linecache
import logging
import os
import select
import socket
import sys
import threading

log = logging.getLogger("rust_hygiene")

_MSG_CMSG_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0x40000000)  # Linux; Python does not always name it


def open_door(fd, debug_fd, kernel):
    """Starts the thread. It also starts the debugger, with the first request on `debug_fd`."""
    os.set_inheritable(fd, False)
    os.set_inheritable(debug_fd, False)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(debug_fd, select.POLLIN)
    door = socket.socket(fileno=fd)
    asked = {
        b"f": _flush,
        b"s": _open_subshell,
        b"i": _interrupt_subshell,
        b"a": _answer_thread,
        b"w": _say_where,
        b"c": _stop_cleaning,
    }

    def serve():
        while True:
            ready = dict(poll.poll())
            if debug_fd in ready:
                poll.unregister(debug_fd)
                if ready[debug_fd] & select.POLLIN:
                    _start_debugger(kernel, debug_fd)
            if fd not in ready:
                continue
            message, fds, _, _ = socket.recv_fds(door, 4096, 1, _MSG_CMSG_CLOEXEC)
            if not message:
                return
            try:
                asked[message[:1]](kernel, message[1:].decode(), fds)
            except Exception:
                log.warning("what the front asked for failed", exc_info=True)

    _thread.start_new_thread(serve, ())


def _start_debugger(kernel, debug_fd):
    try:
        from . import debugging

        debugging.start(kernel, debug_fd)
    except Exception:
        log.warning("the debugger could not be started", exc_info=True)
        os.close(debug_fd)  # the front answers its requests


def _flush(kernel, _, fds):
    """Gives out text without a line end."""
    for flush in kernel.channel.flushers:
        try:
            flush()
        except (OSError, ValueError):
            pass  # the user closed it


def _open_subshell(kernel, subshell_id, fds):
    if not fds:
        return  # this process may open no more of them; the front sees that the line is cut
    try:
        from .subshells import open_subshell

        open_subshell(kernel, subshell_id, fds[0])
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"[:1000]
        os.write(fds[0], text.encode("utf-8", "backslashreplace"))
        os.close(fds[0])


def _interrupt_subshell(kernel, message, fds):
    from .subshells import interrupt_subshell

    number, subshell_id = message.split(" ")
    interrupt_subshell(kernel, subshell_id, int(number))


def _answer_thread(kernel, number, fds):
    """The person's answer to a thread; empty, if this process may open no more descriptors."""
    content = b""
    if fds:
        with open(fds[0], "rb") as file:
            file.seek(0)
            content = file.read()
    kernel.answer_thread(int(number), content)


def _stop_cleaning(kernel, _, fds):
    """A request waits: the cleanup step in hand gives up as soon as it can."""
    kernel.cleaner.stop = True


def _say_where(kernel, _, fds):
    """Tells the front which line of the person's code the main thread is in."""
    frame = sys._current_frames().get(threading.main_thread().ident)
    while frame is not None and frame.f_globals is not kernel.shell.user_ns:
        frame = frame.f_back
    place = ""
    if frame is not None:
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        place = f"line {frame.f_lineno}: {line}" if line else f"line {frame.f_lineno}"
    kernel.channel.send({"op": "where", "what": place})
