"""Cells: run, interrupted, answered."""

import gc
import logging
import sys
import time

from IPython.core.interactiveshell import InteractiveShell

from .channel import _exit
from .frames import dumps
from .interrupts import cares_for_interrupts
from .replies import check_execute, error_of, error_reply
from .streams import flush_replaced
from .unseen import unseen

log = logging.getLogger("rust_hygiene")

# Bound here: a cell may replace them in their modules.
_clock, _cpu_clock = time.perf_counter, time.process_time


def exit_code(error):
    """The exit code of a process that ends with this error, or with None."""
    code = error.code if isinstance(error, SystemExit) else int(error is not None)
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


class Cells:
    """The part of the kernel that runs cells."""

    def _execute(self, request):
        content = request.message["content"]
        if request.count is not None:
            self.shell.execution_count = request.count
        problem = check_execute(content)
        if problem is not None:
            self._reply(
                request.id,
                "execute_reply",
                problem,
                execution_count=self.shell.execution_count,
                status="error",
            )
            return
        self.cancelled_by_interrupt = False
        self._cells += 1
        self._count_before = self.shell.execution_count
        if self.guard is not None:
            self.guard.arm()
        if request.facts:
            self._guarded(unseen, self.facts.before_cell)
        if request.keep:
            self.cleaner.cell_is_kept()
        self._allow_stdin = bool(content.get("allow_stdin", False))
        self._begin_asking()
        self.expect_interrupts()
        clock = _clock(), _cpu_clock()
        shell = self.shell
        code = content["code"]
        silent = bool(content.get("silent", False))
        arguments = self._run_arguments(
            silent,
            bool(content.get("store_history", not silent)) and not silent,
            request.message["metadata"].get("cellId"),
            request.message["metadata"],
        )
        if self._is_async(code):
            # The loop goes on while it runs, and with it comms and the tasks of earlier cells.
            self.channel.send({"op": "async", "id": request.id})
            self._cell_task = self.server.loop.create_task(
                self._run_async(request, code, arguments, clock, silent)
            )
            return
        result = None
        try:
            try:
                self._enter_user_code()
                result = shell.run_cell(code, **arguments)
                flush_replaced()
            finally:
                self.cell_is_over, self.in_user_code = True, False
                try:
                    drop, self.drop_interrupt = self.drop_interrupt, int
                    drop()
                except KeyboardInterrupt:
                    pass
        except (
            BaseException
        ) as error:  # IPython catches what user code raises: this is a late interrupt or a broken hook
            self._finish(request, clock, None, error)
            return
        self._finish(request, clock, result, None)

    def _run_arguments(self, silent, store_history, cell_id, cell_meta):
        arguments = {"silent": silent, "store_history": store_history}
        if "cell_id" in _run_cell_parameters():
            arguments["cell_id"] = cell_id
        if "cell_meta" in _run_cell_parameters():
            arguments["cell_meta"] = cell_meta
        return arguments

    def _is_async(self, code):
        """True for a cell with an `await` or its like at top level, if asyncio is to run it."""
        if "await" not in code and "async" not in code:
            return False
        import asyncio  # noqa: F401  (makes the loop, unless another thread imported it a moment ago)

        self.server.asyncio_was_imported()
        from IPython.core.async_helpers import _asyncio_runner

        return self.shell.loop_runner is _asyncio_runner and self.shell.should_run_async(
            code, **self._transformed(code)
        )

    def _transformed(self, code):
        try:
            return {"transformed_cell": self.shell.transform_cell(code), "preprocessing_exc_tuple": None}
        except Exception:
            return {"transformed_cell": code, "preprocessing_exc_tuple": sys.exc_info()}

    async def _run_async(self, request, code, arguments, clock, silent):
        result = failure = None
        shell = self.shell
        shell.forget_last_error()
        try:
            self._enter_user_code()
            inner = self.server.loop.create_task(
                shell.run_cell_async(code, **self._transformed(code), **arguments)
            )
            self._cell_task = inner
            result = await inner
            flush_replaced()
        except BaseException as error:
            failure = error
        finally:
            self.cell_is_over, self.in_user_code = True, False
            try:
                drop, self.drop_interrupt = self.drop_interrupt, int
                drop()
            except KeyboardInterrupt:
                pass
            self._cell_task = None
        if result is not None:
            self._guarded(shell.events.trigger, "post_execute")
            if not silent:
                self._guarded(shell.events.trigger, "post_run_cell", result)
        self._finish(request, clock, result, failure)

    def _finish(self, request, clock, result, failure):
        """Answers a cell, whatever is left of the interpreter."""
        try:
            self._answer_cell(request, clock, result, failure)
            if self.channel.forked:
                flush_replaced()
                for flush in self.channel.flushers:
                    flush()
                # a child that came back from a cell: there is nothing for it to do
                _exit(exit_code(failure if result is None else error_of(result)))
        except BaseException as error:
            self._fail(request, error)
        try:
            self.server.after_cell()
            self.server.when_idle(1.0, self.idle_work)
        except BaseException as error:
            self._give_up(error)

    def _answer_cell(self, request, clock, result, failure):
        wall, cpu = _clock() - clock[0], _cpu_clock() - clock[1]
        self.expect_interrupts()
        self._end_asking()
        shell, content = self.shell, request.message["content"]
        error = failure if result is None else error_of(result)
        if type(error).__name__ == "CancelledError" and self.cancelled_by_interrupt:
            error = KeyboardInterrupt()
        elif error is not None and shell._showing_was_interrupted:
            error = failure = KeyboardInterrupt(f"while the {type(error).__name__} was being shown")
        error = shell.take_told(error)
        text = self._guarded(shell.text_of, error) or ""
        shell._told = None, ""
        if failure is not None:
            # it ended outside IPython's own care, which has shown nothing and counted nothing
            self.publish("error", {**error_reply(type(error).__name__, text), "status": "error"})
            shell._last_traceback = [f"{type(error).__name__}: {text}"]
        stored = content.get("store_history", True) and not content.get("silent", False)
        if stored and error is not None and shell.execution_count == self._count_before:
            shell.execution_count += (
                1  # an interrupt kept IPython from counting: no two cells may have one number
            )
        reply = self._content_of_reply(error, text, content.get("user_expressions"))
        del result, error, failure
        facts = self._guarded(unseen, self.facts.after_cell) if request.facts else None
        if request.keep:
            self.cleaner.kept_cell_is_over()
        self._reply(
            request.id,
            "execute_reply",
            reply,
            facts,
            status=reply["status"],
            execution_count=shell.execution_count,
            wall_s=wall,
            cpu_s=cpu,
            exit=bool(shell.exit_now),
        )
        shell.exit_now = False

    def _content_of_reply(self, error, text, expressions):
        """The content of an `execute_reply` to a cell that ended in `error`, whose text is `text`; what the cell left for it is taken."""
        shell = self.shell
        if error is None and not getattr(shell, "_last_traceback_during_displayhook", False):
            reply = {"status": "ok"}
        else:
            reply = {
                "status": "error",
                "traceback": shell._last_traceback or [],
                "ename": type(error).__name__,
                "evalue": text,
                "engine_info": {"engine_uuid": self.ident, "engine_id": -1, "method": "execute"},
            }
        reply["execution_count"] = shell.execution_count - 1
        reply["user_expressions"] = {}
        if reply["status"] == "ok":
            reply["user_expressions"] = self._guarded(shell.user_expressions, expressions or {}) or {}
        reply["payload"] = shell.payload_manager.read_payload()
        shell.payload_manager.clear_payload()
        return reply

    @cares_for_interrupts
    def _guarded(self, function, *arguments):
        """Runs what may call user code, so that an interrupt ends that and nothing else."""
        outer = self.in_user_code
        self.in_user_code = True
        try:
            return function(*arguments)
        except BaseException:
            log.debug("user code failed", exc_info=True)
            return None
        finally:
            self.in_user_code = outer
            try:
                drop, self.drop_interrupt = self.drop_interrupt, int
                drop()
            except KeyboardInterrupt:
                pass

    def settle(self):
        """Does what start-up left for later; once, in the first idle moment or when something needs it."""
        later, self.later = self.later, None
        if later is not None:
            later()

    def idle_work(self):
        """A second after the last cell: history to disk, and a look for what nothing leads to."""
        self.settle()
        self.look_if_wanted(self.channel.readable_now)
        try:
            self.shell.history_manager.writeout_cache()
        except Exception:
            log.debug("history not written", exc_info=True)

    def look_if_wanted(self, stop):
        """Looks for what nothing leads to if the front wants to know; the wish stays if `stop` answers with true before the end."""
        if self._look_wanted and self.facts is not None:
            rows = self._guarded(unseen, self.facts.leftovers, stop, gc.isenabled())
            if rows is not None:
                self._look_wanted = False
                self.channel.send({"op": "late"}, dumps({"holders": rows, "complete": True}))

    def _explain(self, envelope):
        facts = self._guarded(unseen, self.facts.explain, float(envelope.get("budget_s", 0.1)))
        held = None
        if envelope.get("holdings"):
            from .holdings import BUDGET_S, holdings

            held = self._guarded(unseen, holdings, self.shell, BUDGET_S)
        self.channel.send({"op": "facts"}, dumps(facts or {}), dumps(held) if held else b"")


def _run_cell_parameters():
    """Names of `run_cell`'s parameters, which grew over IPython's versions."""
    code = InteractiveShell._run_cell.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
