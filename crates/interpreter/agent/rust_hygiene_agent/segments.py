"""Segments of shared memory that this process made: their names are noted when they are made, since a segment that was closed and not
unlinked is in nobody's memory map, and what else lies in /dev/shm may be another program's.
"""

import os
import sys

_FOLDER = "/dev/shm/"
_MOST = 10_000
_made = {}  # name -> None, in the order of making
_fresh = False  # one was made since the last look


def watch(tracker):
    """Notes what is registered with `multiprocessing.resource_tracker`, which has just been imported."""
    register = tracker.register
    owner = os.getpid()

    def noted(name, rtype):
        global _fresh
        register(name, rtype)
        if rtype == "shared_memory" and os.getpid() == owner and _is_made_here(sys._getframe(1)):
            _fresh = True
            if len(_made) < _MOST:
                _made[name.lstrip("/")] = None

    tracker.register = noted


def _is_made_here(caller):
    """Whether `SharedMemory.__init__` was asked to create it; before Python 3.13 segments of others are registered too."""
    return caller.f_code.co_name == "__init__" and bool(caller.f_locals.get("create"))


def forgotten():
    """{name: bytes} of the segments that were made here, are still there, and are not mapped here."""
    global _fresh
    _fresh = False
    if not _made:
        return {}
    sizes = {}
    for name in list(_made):
        try:
            sizes[name] = os.stat(_FOLDER + name).st_blocks * 512
        except OSError:
            del _made[name]  # unlinked
    if sizes:
        with open("/proc/self/maps") as maps:
            for line in maps:
                _, found, name = line.rstrip("\n").partition(_FOLDER)
                if found:
                    sizes.pop(name, None)
    return sizes


def fresh_bytes():
    """Bytes of forgotten segments, if any was made since the last look; costs nothing otherwise."""
    return sum(forgotten().values()) if _fresh else 0
