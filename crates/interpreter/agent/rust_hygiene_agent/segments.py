"""Segments of shared memory that this process made: their names are noted when they are made, since a segment that was closed and not
unlinked is in nobody's memory map, and what else lies in /dev/shm may be another program's. The front is told through a file in
memory, which forked workers write to as well: it removes at the end what is left.
"""

import os
import sys

_FOLDER = "/dev/shm/"
_MOST = 10_000
_write, _stat, _fstat, _getpid = os.write, os.stat, os.fstat, os.getpid
_fd = _inode = None  # the file that the front reads
_made = {}  # name -> None, in the order of making
_fresh = False  # one was made since the last look


def tell_front(fd):
    """What is noted is written to this file too."""
    global _fd, _inode
    os.set_inheritable(fd, False)
    _fd, _inode = fd, _fstat(fd).st_ino


def watch(tracker):
    """Notes what is registered with `multiprocessing.resource_tracker`, which has just been imported."""
    register = tracker.register
    owner = _getpid()

    def noted(name, rtype):
        global _fresh
        register(name, rtype)
        if rtype != "shared_memory" or not _is_made_here(sys._getframe(1)):
            return
        name = name.lstrip("/")
        _tell(name)
        if _getpid() == owner:
            _fresh = True
            if len(_made) < _MOST:
                _made[name] = None

    tracker.register = noted


def _tell(name):
    try:
        if (
            _fd is not None and _fstat(_fd).st_ino == _inode
        ):  # a worker may have closed it, and opened something else
            _write(_fd, f"{_stat(_FOLDER + name).st_ino} {name}\n".encode())
    except OSError:
        pass


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
