"""Our own work on the user's heap goes unseen by the user's program."""

import gc
import os
import sys

# Bound here: a debugger replaces `sys.settrace`, and a cell may replace any of them.
_is_enabled, _disable, _enable = gc.isenabled, gc.disable, gc.enable
_trace, _set_trace = sys.gettrace, sys.settrace
_profile, _set_profile = sys.getprofile, sys.setprofile
_counts, _open = gc.get_count, open
_PAGE = os.sysconf("SC_PAGE_SIZE")
_RESERVE = 2_000


class _Token:
    """Something that the collector counts."""

    __slots__ = ("nothing",)


_reserve = []


def resident():
    """Bytes of this process that are resident, its files' pages not counted."""
    with _open("/proc/self/statm", "rb") as file:
        pages = file.read().split()
    return (int(pages[1]) - int(pages[2])) * _PAGE


def fill_reserve():
    """Makes objects that can be let go of later. Before `gc.freeze`: they count no more then, and nobody comes upon them."""
    _reserve.extend([_Token() for _ in range(_RESERVE)])


def young():
    """How many objects count for the next collection."""
    return _counts()[0]


def level(before):
    """Lets go of as many objects of the reserve as were left to Python's lists of free objects since `before`: they count for the next
    collection, and who has few objects of his own would see it come.
    """
    more = young() - before
    if more > 0:
        del _reserve[-more:]


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
