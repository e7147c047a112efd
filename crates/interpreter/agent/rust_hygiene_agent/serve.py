"""The main thread's loop: a plain wait for frames until someone uses asyncio, from then on asyncio's event loop.

Loading asyncio costs a tenth of the start, and most notebooks never use it. Code must not notice: in a notebook a loop is always
running, so `asyncio.get_running_loop()` and `asyncio.create_task` work in any cell. The cell that imports asyncio finds the loop
marked as running; when it is over, the loop really runs. And code finds itself in a task, as in ipykernel, which libraries take for the
sign of asyncio: one task stands for all requests.
"""

import contextvars
import logging
import sys
import threading
import time
import traceback

from .traces import without_our_frames

# More errors than this within so many seconds are not outlived.
_TOO_OFTEN, _A_WHILE_S = 20, 5.0

log = logging.getLogger("rust_hygiene")


class Server:
    """Feeds frames to a function, and runs idle work when nothing has come for a while."""

    def __init__(self, channel, take):
        self._channel = channel
        self._take = take  # takes every frame that is there
        self._context = contextvars.copy_context()  # of all requests: what a cell sets, a later one can reset
        self._inside = False
        self._idle = None  # (due, function)
        self._handle = None
        self._main = threading.get_ident()
        self._marked = False
        self._taking = False
        self._task = None
        self._raised = []  # when callbacks between cells did
        self.loop = None
        self.loop_made = None  # called when there is one
        self.exiting = False

    # ------------------------------------------------------------------ idle work

    def when_idle(self, seconds, function):
        """Runs `function` once nothing has come for `seconds`; replaces what was to be run."""
        if self.loop is None:
            self._idle = (time.monotonic() + seconds, function)
        else:
            self._cancel()
            self._handle = self.loop.call_later(seconds, function)

    def _cancel(self):
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    # ------------------------------------------------------------------ the loop

    def asyncio_was_imported(self):
        """Makes the loop, if this is the main thread; another thread's import is seen with the next frame."""
        if threading.get_ident() == self._main and self.loop is None:
            self._make_loop()
            if self._taking:
                self._mark(True)

    def _make_loop(self):
        import asyncio

        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._task = _Standing(self.loop)
        self._listen()
        if self._idle is not None:
            due, function = self._idle
            self._handle = self.loop.call_later(max(0.0, due - time.monotonic()), function)
            self._idle = None
        if self.loop_made is not None:
            self.loop_made()

    def _listen(self):
        self.loop.add_reader(self._channel.socket.fileno(), self._take_in_task)

    def _take_in_task(self):
        task = self._task
        task.enter()
        inside, self._inside = self._inside, True
        try:
            if inside:
                self._take()  # a cell runs the loop itself
            else:
                self._context.run(self._take)
        finally:
            self._inside = inside
            task.leave()

    def _mark(self, running):
        """Lets asyncio believe that the loop runs, as it will when this cell is over."""
        import asyncio

        if not running:
            self._task.leave()
        asyncio._set_running_loop(self.loop if running else None)
        self.loop._thread_id = self._main if running else None
        self._marked = running
        if running:
            self._task.enter()

    def serve(self):
        """Serves until `exiting`."""
        self._main = threading.get_ident()
        while not self.exiting:
            if self.loop is None and "asyncio" in sys.modules:
                self._make_loop()
            try:
                if self.loop is None:
                    self._serve_plainly()
                else:
                    # in no cell's context: what the loop itself says of a callback belongs to the latest cell, not to the
                    # one in which asyncio was imported
                    contextvars.Context().run(self.loop.run_forever)
            except KeyboardInterrupt:
                continue  # of a cell that had just ended
            except BaseException as error:
                if self.exiting or not self._outlives(error):
                    raise

    def _outlives(self, error):
        """What a callback or a signal handler has raised between cells is shown, and no reason to lose the session. False if it goes on
        without end, or is our own failure.
        """
        now = time.monotonic()
        self._raised = [when for when in self._raised if now - when < _A_WHILE_S]
        self._raised.append(now)
        if len(self._raised) > _TOO_OFTEN or not isinstance(error, (Exception, SystemExit)):
            return False
        traceback.print_exception(type(error), error, without_our_frames(error.__traceback__))
        if self.loop is not None and self.loop.is_closed():
            self.loop = self._handle = None
            self._make_loop()
        return True

    def _serve_plainly(self):
        timeout = None if self._idle is None else max(0.0, self._idle[0] - time.monotonic())
        if not self._channel.wait(timeout):
            (_, function), self._idle = self._idle, None
            try:
                function()
            except Exception:
                log.warning("work in an idle moment failed", exc_info=True)
            return
        if "asyncio" in sys.modules:
            return  # another thread imported it: the loop takes what has come
        self._taking = self._inside = True
        try:
            self._context.run(self._take)
        finally:
            self._taking = self._inside = False
            if self._marked:
                self._mark(False)

    def after_cell(self):
        """Puts the loop right again if a cell stopped, closed or emptied it."""
        if self.loop is None:
            return
        if self.loop.is_closed():
            if self._marked:
                self._mark(False)
            self.loop = self._handle = None
            self._make_loop()
            if self._taking:
                self._mark(True)
        else:
            self._listen()

    def stop(self):
        """Ends `serve` when the frame in hand is done."""
        self.exiting = True
        if self.loop is not None:
            self.loop.stop()


class _Standing:
    """A task that is the current one while requests are handled, and does nothing itself."""

    def __init__(self, loop):
        import asyncio

        self._tasks = asyncio.tasks
        self._loop = loop
        self._task = loop.create_task(_wait(loop), name="requests")
        self._task._log_destroy_pending = False
        self._tasks._unregister_task(self._task)

    def enter(self):
        """From here on it is the current task, and one of `asyncio.all_tasks()`."""
        self._tasks._register_task(self._task)
        self._tasks._enter_task(self._loop, self._task)

    def leave(self):
        """It no longer is."""
        try:
            self._tasks._leave_task(self._loop, self._task)
        except RuntimeError:
            pass  # the cell has made another the current one
        self._tasks._unregister_task(self._task)


async def _wait(loop):
    from asyncio import CancelledError

    while True:
        try:
            await loop.create_future()
        except CancelledError:
            pass  # by a cell that cancels all tasks
