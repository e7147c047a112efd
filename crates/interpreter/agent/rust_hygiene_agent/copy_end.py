"""The end of a disposable copy of the interpreter: what its cell has written gets to the files, and what it has started ends.

The copy ends without Python's own ending, which would write what this interpreter has not written yet, delete its temporary files,
and run its `atexit` functions. So nobody closes the files that the cell left open.
"""

import _thread
import gc
import io
import os
import select
import signal
import time

from .libc import take_orphans

_PATIENCE_S = 2.0  # a file may lie on a server that does not answer, or be a pipe that nobody reads
_LONGEST_WAIT_MS = 10_000
_ROUNDS = 40
_BUFFERED = (io.BufferedWriter, io.BufferedRandom)
_TRACKER = b"resource_tracker"  # of multiprocessing and loky: ends by itself, and removes what is left
_thawed = []  # holds a mark that no look for objects comes upon, unless somebody has called `gc.unfreeze`


def begin(is_fork):
    """In the copy, before its cell: from here on what it makes can be told from what it was born with."""
    take_orphans()  # or what the cell starts in the background could not be found
    if is_fork:
        _thawed[:] = [[]]
        gc.freeze()  # costs nothing, and a look for objects then leaves those of others alone, whose pages stay shared


# ---------------------------------------------------------------------- files


def write_out():
    """In the copy, after its cell: has open files written. What could not be, with the reason."""
    try:
        files = _own_files()
        if not files:
            return []
        waiting, failed, done = [_name(raw) for _, raw in files], [], _thread.allocate_lock()
        done.acquire()
        _thread.start_new_thread(_flush, (files, waiting, failed, done))
        if not done.acquire(True, _PATIENCE_S):
            return [*failed, *(f"{name}: it takes too long" for name in list(waiting))]
        return failed
    except (MemoryError, RuntimeError) as error:
        return [f"files that are still open: {error or type(error).__name__}"]


def _own_files():
    """[(file, raw file)] that this copy has opened for writing. Only Python's own classes: others' may run code of the cell's."""
    own = {}
    for one in gc.get_objects():
        if type(one) is io.TextIOWrapper or type(one) in _BUFFERED:
            own[id(one)] = one
        elif _thawed and one is _thawed[0]:
            raise RuntimeError("gc.unfreeze was called, and they cannot be told from others")
    found = []
    # Text first: it goes on to a buffer, which is the copy's own too, or others would write the same again.
    for one in sorted(own.values(), key=lambda one: type(one) in _BUFFERED):
        try:
            buffer = one if type(one) in _BUFFERED else one.buffer
            if (
                id(buffer) in own
                and type(buffer.raw) is io.FileIO
                and not buffer.raw.closed
                and one.writable()
            ):
                found.append((one, buffer.raw))
        except ValueError:
            pass  # detached, or not made in full
    return found


def _flush(files, waiting, failed, done):
    for one, _ in files:
        try:
            one.flush()
        except Exception as error:
            failed.append(f"{waiting[0]}: {error}")
        del waiting[0]
    done.release()


def _name(raw):
    name = getattr(raw, "name", None)
    return name if type(name) is str else f"file descriptor {raw.fileno()}"


def await_end(channel):
    """Waits until the other side has said goodbye to what this copy has started, and ends it."""
    poll = select.poll()
    poll.register(channel.socket.fileno(), select.POLLIN)
    poll.poll(_LONGEST_WAIT_MS)


# ---------------------------------------------------------------------- processes


def end(pid):
    """From outside: ends a copy, and everyone below it."""
    try:
        # It stands still meanwhile: it starts nobody else, and remains the parent of all orphans.
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return
        _end_below(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ChildProcessError, ProcessLookupError):
        pass  # the program has waited for all its children


def _end_below(pid):
    for number in range(_ROUNDS):
        living = [one for one in _below(pid) if _is_to_end(one)]
        if not living:
            return
        for one in living:
            try:
                os.kill(one, signal.SIGKILL)
            except OSError:
                pass  # it is gone, or another person's
        time.sleep(0.001 * number)


def _below(pid):
    found = [pid]
    for one in found:
        found += _children(one)
    return found[1:]


def _children(pid):
    children = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                children += map(int, file.read().split())
    except OSError:
        pass  # it has ended meanwhile
    return children


def _is_to_end(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            if file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return _TRACKER not in file.read()
    except OSError:
        return False
