"""Cleanup steps: what each could give back, and doing it. The front decides which is due and measures what it gave back.

An `Offer` says what a step would give back, how long it would take, and why it cannot be done. Looking imports nothing and calls
nothing but counters of libraries that are loaded already; only a step itself may do more.
"""

import gc
import logging
import time

from .frames import dumps
from .unseen import unseen

log = logging.getLogger("rust_hygiene")

_clock = time.perf_counter


class Stopped(Exception):
    """A request has come: the step gives up."""


class Refused(Exception):
    """A step finds only when it is done that it must not be; the text says why."""


class Limits:
    """What a step must keep to."""

    def __init__(self, given, stopped):
        """`given` is the front's JSON; `stopped` says whether a request waits."""
        self.out_bytes = given.get("out_bytes", 0)
        self.traceback_bytes = given.get("traceback_bytes", 0)
        self.keep_names = given.get("keep_names", [])
        self.keep_types = given.get("keep_types", [])
        self.keep_cells = set(given.get("keep_cells", []))
        budget = given.get("budget_s")
        self.deadline = None if budget is None else _clock() + budget
        # What gives up at once when a request comes may take longer: nobody waits for it.
        self._patience = None if budget is None else _clock() + 10 * budget
        self.collecting = gc.isenabled() and gc.get_threshold()[0] > 0
        self._stopped = stopped

    def are_over(self):
        """Whether time is up or a request waits."""
        return self._stopped() or (self.deadline is not None and _clock() > self.deadline)

    def check(self):
        """To be called every few milliseconds: raises if time is up or a request waits."""
        if self._stopped():
            raise Stopped
        if self._patience is not None and _clock() > self._patience:
            raise Refused("it would take longer than it may")


class Cleaner:
    """Answers the front's questions about steps. One a kernel, made with the first question."""

    def __init__(self, kernel):
        """Nothing is looked at yet."""
        from . import steps

        self._kernel = kernel
        self._steps = steps.all_steps(kernel)
        self._of_cells = (
            self._steps["figures"],
            self._steps["clear_traceback"],
        )  # that leave alone what kept cells made
        self.stop = False  # set by the thread of the door

    @property
    def names(self):
        """Every step's name, in the order of execution."""
        return list(self._steps)

    def cell_is_kept(self):
        """A cell begins whose results are to be left alone."""
        for step in self._of_cells:
            step.kept_cell_begins()

    def kept_cell_is_over(self):
        """It is over."""
        for step in self._of_cells:
            step.kept_cell_is_over()

    def survey(self, names):
        """{step: offer} of the steps that have something to do."""
        offers = {}
        for name in names:
            step = self._steps.get(name)
            if step is None:
                continue
            try:
                offer = step.offer()
            except Exception:
                log.warning("looking for what %s could give back failed", name, exc_info=True)
                offer = {"refusal": "looking for it failed; the log says how"}
            if offer is not None:
                offers[name] = offer
        return offers

    def answer_survey(self, envelope):
        """Tells the front what there is to do."""
        self.stop = False
        self._kernel.channel.send({"op": "surveyed"}, dumps(unseen(self.survey, envelope["steps"])))

    def answer_step(self, envelope, sections):
        """Does one step and tells the front what came of it."""
        from json import loads

        self.stop = False
        limits = Limits(loads(bytes(sections[0])), lambda: self.stop)
        name = envelope["step"]
        began = _clock()
        done = self._kernel._guarded(unseen, self._run, name, limits)
        answer = done or {"refusal": "it failed; the log says how"}
        answer["took_s"] = round(_clock() - began, 6)
        answer["offers"] = unseen(self.survey, envelope["steps"])
        self._kernel.channel.send({"op": "stepped", "what": name}, dumps(answer))
        if done and self._kernel.facts is not None:
            self._kernel._guarded(unseen, self._kernel.facts.cleaned)

    def _run(self, name, limits):
        try:
            released = self._steps[name].run(limits)
            return released if isinstance(released, dict) else {"gpu": released}
        except Stopped:
            return {"refusal": "a request came"}
        except Refused as why:
            return {"refusal": str(why)}
        except Exception:
            log.warning("the cleanup step %s failed", name, exc_info=True)
            return None
