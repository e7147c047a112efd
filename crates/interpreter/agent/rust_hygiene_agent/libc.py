"""The few C functions that measuring needs. Called through `_ctypes`: the package `ctypes` takes longer to load than the start allows."""

import _ctypes
import sys
from struct import calcsize
from struct import pack as _pack

WORD = calcsize("N")  # bytes
_C_CALL, _HOLDS_THE_GIL = 1, 4
_SIMPLE = _ctypes._SimpleCData


class _Size(_SIMPLE):
    _type_ = "L"


class _Pointer(_SIMPLE):
    _type_ = "P"


class _Int(_SIMPLE):
    _type_ = "i"


class _Text(_SIMPLE):
    _type_ = "z"


class _Object(_SIMPLE):
    _type_ = "O"


class _Info(_ctypes.Structure):
    """`struct mallinfo2`."""

    _fields_ = [
        (name, _Size)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def function(name, result, *arguments, library=None, holds_the_gil=False):
    """A C function of the process or of a library's file; None where it is not there."""
    try:
        address = _ctypes.dlsym(_ctypes.dlopen(library, 0), name)
    except OSError:
        return None
    flags = _C_CALL | (_HOLDS_THE_GIL if holds_the_gil else 0)
    body = {"_flags_": flags, "_restype_": result, "_argtypes_": arguments}
    return type(name, (_ctypes.CFuncPtr,), body)(address)


_report = []  # the functions with which Python's allocator tells
_mallinfo = function("mallinfo2", _Info)
_trim = function("malloc_trim", _Int, _Size)
_mmap = function("mmap", _Pointer, _Pointer, _Size, _Int, _Int, _Int, _Size)
_munmap = function("munmap", _Int, _Pointer, _Size)
_prctl = function("prctl", _Int, _Int, _Size, _Size, _Size, _Size)
_CHILD_SUBREAPER = 36  # prctl(2)
_READ_WRITE, _PRIVATE_ANONYMOUS, _FAILED = 3, 0x22, (1 << 8 * WORD) - 1  # on x86-64 and aarch64


def give_back():
    """Has glibc's allocator give free memory back to the system."""
    if _trim is not None:
        _trim(0)


def mapping(size):
    """The address of new memory of the system's, which nobody has touched; None if it is refused.

    Python's own `bytes(size)` would take it from free memory in the C allocator's heap, if there is so much, and fill it with zeroes.
    """
    if _mmap is None or _munmap is None:
        return None
    address = _mmap(0, size, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    return None if address == _FAILED else address


def unmap(address, size):
    """Gives the memory of `mapping` back."""
    _munmap(address, size)


def take_orphans():
    """From now on processes below this one whose parents end become its children."""
    if _prctl is not None:
        _prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)


def malloc_in_use():
    """(bytes of chunks in use in glibc's heaps, bytes of chunks with a mapping of their own); None without glibc."""
    if _mallinfo is None:
        return None
    info = _mallinfo()
    return info.uordblks, info.hblkhd


def malloc_top():
    """Bytes free at the end of the heap, which go back by themselves once they are enough; 0 without glibc."""
    return 0 if _mallinfo is None else _mallinfo().keepcost


def small_objects():
    """(bytes in use, bytes of all arenas) of Python's allocator of small objects; None where it cannot tell."""
    if not _report:
        _report.append(
            (
                function("open_memstream", _Pointer, _Pointer, _Pointer),
                function("_PyObject_DebugMallocStats", _Int, _Pointer, holds_the_gil=True),
                function("fclose", _Int, _Pointer),
                function("PyBytes_FromStringAndSize", _Object, _Pointer, _Size, holds_the_gil=True),
                function("free", _Int, _Pointer),
            )
        )
    if None in _report[0]:
        return None
    open_memstream, stats, fclose, to_bytes, free = _report[0]
    text, size = _Pointer(), _Size()
    stream = open_memstream(_ctypes.addressof(text), _ctypes.addressof(size))
    if not stream:
        return None
    stats(stream)
    fclose(stream)
    report = to_bytes(text, size)
    free(text)
    used = arenas = None
    for line in report.splitlines():
        if line.startswith(b"# bytes in allocated blocks"):
            used = _last_number(line)
        elif b"bytes/arena" in line:
            arenas = _last_number(line)
    return None if used is None or arenas is None else (used, arenas)


def _last_number(line):
    return int(line.rpartition(b"=")[2].strip().replace(b",", b""))


def sqlite_in_use():
    """Bytes of all databases of this process; None where the library does not say."""
    module = sys.modules.get("_sqlite3")
    name = getattr(module, "__file__", None)
    used = name and function("sqlite3_memory_used", _Size, library=name)
    return used() if used else None


_HEADER = (
    16  # bytes of a chunk before what malloc answers with: the size of the one before, its own size and flags
)
_IN_USE = 1  # flag of the chunk that follows
_HEADS = (0, bytes.__basicsize__ - 1)
_SPARE = 4096  # bytes that a chunk may be longer than what was asked for
_CHUNKS = 300_000
_LARGE_CHUNK = 1 << 16


def last_in_use(known, top, stop):
    """The address of the last large chunk of glibc's main heap that is in use, from the first of the `known` buffers up to `top`, where the
    free end begins; these buffers, sorted `(address, size)` pairs, do not count. 0 if there is none. Small ones are left out, since
    whoever owned the buffers may own these too.

    Only sizes and flags are read, within the heap's mapping. `top` is the answer where they make no sense or are too many.
    """
    chunk = next(filter(None, (_chunk_of(*pair) for pair in known)), None)
    if chunk is None:
        return top
    last, known = 0, iter(known)
    buffer, _ = next(known)
    for step in range(_CHUNKS):
        if chunk >= top:
            return last
        if not step & 1023 and stop():
            return top
        length = word_at(chunk + 8) & ~7
        following = chunk + length
        if length < 32 or following > top:
            return top
        while buffer < chunk:
            buffer, _ = next(known, (top, 0))
        ours = chunk <= buffer < following
        if not ours and length >= _LARGE_CHUNK and word_at(following + 8) & _IN_USE:
            last = chunk
        chunk = following
    return top


def _chunk_of(buffer, size):
    """Where the chunk of a buffer begins: just before it, or before the head of an object; None in an allocator of somebody's own."""
    for head in _HEADS:
        chunk = buffer - head - _HEADER
        if 0 <= (word_at(chunk + 8) & ~7) - head - size <= _SPARE:
            return chunk
    return None


def words(numbers):
    """Machine words as bytes."""
    return _pack(f"{len(numbers)}N", *numbers)


def addresses(objects):
    """The addresses of the objects of a tuple, machine words as bytes. As `id` answers, at a fraction of its price."""
    if _bytes_at is None:
        return words([*map(id, objects)])
    return _bytes_at(id(objects) + tuple.__basicsize__, len(objects) * WORD)


def _reader_of_tuples():
    """`PyBytes_FromStringAndSize`, if tuples have their items at their end; None if this Python stores them otherwise."""
    read = function("PyBytes_FromStringAndSize", _Object, _Pointer, _Size, holds_the_gil=True)
    sample = (None, True, "")
    if read and read(id(sample) + tuple.__basicsize__, 3 * WORD) == words([*map(id, sample)]):
        return read
    return None


_bytes_at = _reader_of_tuples()


def word_at(address):
    """The machine word at an address."""
    return _Size.from_address(address).value


def object_at(address):
    """The object that a pointer at an address refers to; None for a null pointer."""
    return _Object.from_address(address).value if word_at(address) else None
