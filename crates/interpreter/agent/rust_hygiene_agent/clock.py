"""The clock of budgets: this thread's processor time, so that on a busy machine answers are late rather than worse.

A deadline is a moment of this clock. It runs at least at a third of the wall clock's pace: nobody waits longer than that.
"""

from time import perf_counter, thread_time

_SLOWEST = 3
_began = 0.0, 0.0


def begin():
    """Sets the clock to zero; answers with zero."""
    global _began
    _began = thread_time(), perf_counter()
    return 0.0


def now():
    """Seconds since the last `begin`."""
    worked, began = _began
    return max(thread_time() - worked, (perf_counter() - began) / _SLOWEST)
