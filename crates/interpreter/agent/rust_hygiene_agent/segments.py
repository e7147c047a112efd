"""Segments of shared memory that this process made: their names are noted when they are made, since a segment that was closed and not
unlinked is in nobody's memory map, and what else lies in /dev/shm may be another program's. The front is told through a file in
memory, which forked workers write to as well: it removes at the end what is left.
"""

import os
import sys

_FOLDER = "/dev/shm/"
_MOST = 10_000
_write, _fstat, _getpid = os.write, os.fstat, os.getpid
_MAKES = os.O_CREAT | os.O_EXCL
_fd = _inode = None  # the file that the front reads
_made = {}  # name -> None, in the order of making
_fresh = False  # one was made since the last look


def tell_front(fd):
    """What is noted is written to this file too."""
    global _fd, _inode
    os.set_inheritable(fd, False)
    _fd, _inode = fd, _fstat(fd).st_ino


def watch(posixshmem):
    """Notes what `shm_open` of `_posixshmem`, which has just been imported, makes.

    At once, not when `SharedMemory` registers it: an interrupt or a lack of memory may come between the two.
    """
    shm_open = posixshmem.shm_open
    owner = _getpid()

    def noted(path, flags, mode=0o777):
        global _fresh
        fd = shm_open(path, flags, mode)
        # With `track=False` (Python 3.13) it is meant to outlive its maker.
        if flags & _MAKES == _MAKES and sys._getframe(1).f_locals.get("track") is not False:
            name = path.lstrip("/")
            _tell(name, fd)
            if _getpid() == owner:
                _fresh = True
                if len(_made) < _MOST:
                    _made[name] = None
        return fd

    noted.__name__ = noted.__qualname__ = "shm_open"
    noted.__module__, noted.__doc__ = "_posixshmem", shm_open.__doc__
    posixshmem.shm_open = noted


def _tell(name, fd):
    try:
        # A worker may have closed the front's file, and opened something else.
        if _fd is not None and _fstat(_fd).st_ino == _inode:
            _write(_fd, f"{_fstat(fd).st_ino} {name}\n".encode())
    except OSError:
        pass


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
