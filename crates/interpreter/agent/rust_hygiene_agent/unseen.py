"""Our own work on the user's heap goes unseen by the user's program."""

import gc
import sys

# Bound here: a debugger replaces `sys.settrace`, and a cell may replace any of them.
_is_enabled, _disable, _enable = gc.isenabled, gc.disable, gc.enable
_trace, _set_trace = sys.gettrace, sys.settrace
_profile, _set_profile = sys.getprofile, sys.setprofile


def unseen(function, *arguments):
    """Calls it with no collection starting in it, and without telling the trace and profile functions of this thread.

    A collection would run the finalisers of the user's garbage at a time that only measuring chose; a trace function in Python is
    the user's code, and would be called for each of our lines.
    """
    trace, profile = _trace(), _profile()
    if profile is not None and not callable(profile):
        profile = (
            None  # cProfile's: `sys.setprofile` could not put it back, and it runs no code of the user's
        )
    collecting = _is_enabled()
    try:
        if trace is not None:
            _set_trace(None)
        if profile is not None:
            _set_profile(None)
        _disable()
        return function(*arguments)
    finally:
        if collecting:
            _enable()
        if trace is not None:
            _set_trace(trace)
        if profile is not None:
            _set_profile(profile)
