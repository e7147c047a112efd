"""Cleanup steps that have allocators and frameworks give back what they keep for later. Only what is loaded is spoken to."""

import os
import sys
import time

_MIB = 1 << 20
_HEAP = 64 * _MIB  # glibc's arenas of threads lie at multiples of this
_ARENAS_ALL = 4096  # jemalloc(3), MALLCTL_ARENAS_ALL
_TRIM_S = 0.25 / (1 << 30)  # seconds for each byte that malloc_trim gives back


def _module(name):
    """A module that is loaded, and not just about to be."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return None if getattr(spec, "_initializing", False) else module


class TorchCache:
    """PyTorch's cache of GPU memory: blocks that no tensor uses."""

    @staticmethod
    def _cuda():
        cuda = _module("torch.cuda")
        # Where CUDA was never started there is nothing to give back, and asking for more could start it.
        return cuda if cuda is not None and cuda.is_initialized() else None

    @staticmethod
    def _cached(cuda):
        devices = range(cuda.device_count())
        return sum(cuda.memory_reserved(d) - cuda.memory_allocated(d) for d in devices)

    def offer(self):
        """What is reserved and not allocated; parts of blocks in use among it stay."""
        cuda = self._cuda()
        return None if cuda is None else {"bytes": self._cached(cuda)}

    def run(self, limits):
        """Empties it."""
        cuda = self._cuda()
        if cuda is None:
            return None
        before = self._cached(cuda)
        cuda.empty_cache()
        return before - self._cached(cuda)


class PinnedCache:
    """PyTorch's cache of page-locked host memory."""

    @staticmethod
    def _native():
        torch = _module("torch._C")
        if TorchCache._cuda() is None or not hasattr(torch, "_host_emptyCache"):
            return None
        return torch

    def offer(self):
        """What is owned and not in use, where this version of PyTorch says."""
        if self._native() is None:
            return None
        stats = getattr(_module("torch.cuda"), "host_memory_stats", dict)()
        owned, used = stats.get("allocated_bytes.current"), stats.get("active_bytes.current")
        if owned is None or used is None:
            return {}
        return {"bytes": max(0, owned - used)} if owned > used else None

    def run(self, limits):
        """Empties it."""
        native = self._native()
        if native is not None:
            native._host_emptyCache()


class CupyPool:
    """CuPy's pools of GPU memory and of page-locked host memory."""

    @staticmethod
    def _pools():
        cupy = _module("cupy")
        if cupy is None:
            return None
        pool, pinned = cupy.get_default_memory_pool(), cupy.get_default_pinned_memory_pool()
        return (pool, pinned) if pool.total_bytes() or pinned.n_free_blocks() else None

    def offer(self):
        """What is in the pool and not used."""
        pools = self._pools()
        if pools is None:
            return None
        free = pools[0].total_bytes() - pools[0].used_bytes()
        return {"bytes": free} if free or not pools[1].n_free_blocks() else {}

    def run(self, limits):
        """Frees it."""
        pools = self._pools()
        if pools is None:
            return None
        before = pools[0].total_bytes()
        for pool in pools:
            pool.free_all_blocks()
        return before - pools[0].total_bytes()


class IdleWorkers:
    """joblib's worker processes, which end by themselves after five minutes without work and are started again when needed."""

    @staticmethod
    def _executor():
        module = _module("joblib.externals.loky.reusable_executor")
        executor = getattr(module, "_executor", None)
        if executor is None or not getattr(executor, "_processes", None):
            return None
        return executor

    def offer(self):
        """Whether there are workers, and whether they have work."""
        executor = self._executor()
        if executor is None:
            return None
        if executor._pending_work_items or executor._running_work_items:
            return {"refusal": "joblib's workers have work"}
        return {"bytes": sum(map(_private, executor._processes))}

    def run(self, limits):
        """Asks them to end, in loky's own way."""
        offer = self.offer()
        if offer is None or "refusal" in offer:
            return None
        workers = list(self._executor()._processes)
        self._executor().shutdown(wait=False)
        # They take their time; what they have given back is told, and nobody waits for the rest.
        while (left := sum(map(_private, workers))) and not limits.are_over():
            time.sleep(0.01)
        return {"host": offer["bytes"] - left}


def _private(pid):
    """Anonymous bytes of a process; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class ArrowPool:
    """Arrow's memory pool, whose allocator keeps pages for later."""

    def __init__(self):
        self._released_at = None  # the pool's highest figure at the last release

    @staticmethod
    def _pool():
        arrow = _module("pyarrow")
        return None if arrow is None else arrow.default_memory_pool()

    def offer(self):
        """At most what was in use at the highest and is not now."""
        pool = self._pool()
        if pool is None:
            return None
        most = pool.max_memory() or 0
        free = most - pool.bytes_allocated()
        # The highest figure never goes down, so after a release it says nothing any more.
        if free <= 0:
            return None
        return {} if self._released_at == most else {"bytes": free}

    def run(self, limits):
        """Has it give them back."""
        pool = self._pool()
        if pool is not None:
            self._released_at = pool.max_memory()
            pool.release_unused()


class Library:
    """C functions of the process, by ctypes, which idle time has loaded already."""

    def __init__(self):
        import ctypes

        self.ctypes = ctypes
        self.process = ctypes.CDLL(None)

    def find(self, symbol, *names):
        """(library, its name) that has a function: the process as a whole, or a loaded file with one of these names."""
        if hasattr(self.process, symbol):
            return self.process, symbol
        for path in _mapped_files(names):
            try:
                library = self.ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            except OSError:
                continue
            if hasattr(library, symbol):
                return library, os.path.basename(path)
        return None


def _mapped_files(names):
    """Paths of mapped files whose names begin with one of these."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line[line.index("/") :].rstrip("\n") for line in maps if "/" in line}
    except OSError:
        return []
    return sorted(path for path in paths if os.path.basename(path).startswith(names))


class AllocatorPurge:
    """jemalloc, mimalloc or tcmalloc, where one stands in for malloc or is loaded with its functions in sight."""

    def __init__(self):
        self._known = None

    def _purgers(self):
        """[(name, purge, free or None)]; looked for once, as an allocator cannot be loaded later in place of malloc."""
        if self._known is None:
            library = Library()
            finders = (self._jemalloc, self._mimalloc, self._tcmalloc)
            self._known = [found for find in finders if (found := find(library)) is not None]
        return self._known

    def offer(self):
        """What they say that they keep."""
        purgers = self._purgers()
        if not purgers:
            return None
        free = [free() for _, _, free in purgers if free is not None]
        return {"bytes": sum(free)} if len(free) == len(purgers) else {}

    def run(self, limits):
        """Has each give it back."""
        for _, purge, _ in self._purgers():
            purge()

    @staticmethod
    def _jemalloc(library):
        ctypes = library.ctypes
        found = library.find("mallctl", "libjemalloc")
        if found is None:
            return None
        control = found[0].mallctl
        control.argtypes = [
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
        ]

        def read(name):
            value, size = ctypes.c_size_t(), ctypes.c_size_t(ctypes.sizeof(ctypes.c_size_t))
            if control(name, ctypes.byref(value), ctypes.byref(size), None, 0):
                return None
            return value.value

        def free():
            epoch = ctypes.c_uint64(1)
            control(b"epoch", None, None, ctypes.byref(epoch), ctypes.sizeof(epoch))
            resident, active = read(b"stats.resident"), read(b"stats.active")
            return 0 if resident is None or active is None else max(0, resident - active)

        def purge():
            control(b"arena.%d.purge" % _ARENAS_ALL, None, None, None, 0)

        return "jemalloc", purge, free if read(b"stats.resident") is not None else None

    @staticmethod
    def _mimalloc(library):
        found = library.find("mi_collect", "libmimalloc")
        if found is None:
            return None
        collect = found[0].mi_collect
        collect.argtypes = [library.ctypes.c_bool]
        collect.restype = None
        return "mimalloc", lambda: collect(True), None

    @staticmethod
    def _tcmalloc(library):
        ctypes = library.ctypes
        found = library.find("MallocExtension_ReleaseFreeMemory", "libtcmalloc")
        if found is None:
            return None
        release = found[0].MallocExtension_ReleaseFreeMemory
        release.restype = None
        number = getattr(found[0], "MallocExtension_GetNumericProperty", None)

        def free():
            value = ctypes.c_size_t()
            if not number(b"tcmalloc.pageheap_free_bytes", ctypes.byref(value)):
                return 0
            return value.value

        return "tcmalloc", release, free if number is not None else None


class MallocTrim:
    """glibc, which keeps freed memory below a block that is still in use."""

    def __init__(self):
        self._malloc = None

    def _glibc(self):
        if self._malloc is None:
            self._malloc = Glibc(Library())
        return self._malloc

    def offer(self):
        """Resident bytes of its heaps that are not in use."""
        glibc = self._glibc()
        if glibc.refusal is not None:
            return {"refusal": glibc.refusal}
        slack = glibc.slack()
        return {"bytes": slack, "seconds": slack * _TRIM_S}

    def run(self, limits):
        """Has it give back every page that is free as a whole."""
        glibc = self._glibc()
        if glibc.refusal is None:
            glibc.trim(0)


class Glibc:
    """glibc's allocator, if it is the one that serves this process."""

    def __init__(self, library):
        ctypes = library.ctypes
        process = library.process
        self._ctypes, self.refusal = ctypes, None

        class Info(ctypes.Structure):
            """mallinfo(3)."""

            _fields_ = [
                (name, ctypes.c_size_t)
                for name in (
                    "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
                )
            ]

        for name in ("malloc_trim", "mallinfo2", "gnu_get_libc_version"):
            if not hasattr(process, name):
                self.refusal = f"there is no {name}: not glibc, or one before 2.33"
                return
        ours = self._file_of(process.malloc)
        if ours != self._file_of(process.gnu_get_libc_version):
            self.refusal = f"malloc is not glibc's but of {os.path.basename(ours or 'another library')}"
            return
        self._info = process.mallinfo2
        self._info.restype = Info
        self.trim = process.malloc_trim
        self.trim.argtypes = [ctypes.c_size_t]
        self._mincore = process.mincore
        self._mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]

    def _file_of(self, function):
        """The file that a function lies in (dladdr(3))."""
        ctypes = self._ctypes

        class Place(ctypes.Structure):
            """Dl_info."""

            _fields_ = [
                ("file", ctypes.c_char_p),
                ("base", ctypes.c_void_p),
                ("name", ctypes.c_char_p),
                ("address", ctypes.c_void_p),
            ]

        place = Place()
        address = ctypes.cast(function, ctypes.c_void_p)
        process = ctypes.CDLL(None)
        if not process.dladdr(address, ctypes.byref(place)) or place.file is None:
            return None
        return os.path.realpath(os.fsdecode(place.file))

    def slack(self):
        """Bytes of the heaps that are resident and free. What mallinfo calls free is free whether it is resident or not."""
        info = self._info()
        resident = sum(self._resident(start, end) for start, end in self._heaps())
        return max(0, min(info.fordblks, resident - info.uordblks))

    def _heaps(self):
        """Address ranges of the heaps."""
        found, arenas = [], []
        with open("/proc/self/maps") as maps:
            for line in maps:
                place, mode, _, _, inode, *name = line.split()
                start, end = (int(address, 16) for address in place.split("-"))
                if name == ["[heap]"]:
                    found.append((start, end))
                elif mode == "rw-p" and inode == "0" and not name and not start % _HEAP:
                    if end - start <= _HEAP:
                        arenas.append((start, end))
        starts = {start for start, _ in arenas}
        # Read as a file: another thread may give a heap back meanwhile, and a pointer into it would be the end.
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC) if arenas else None
        try:
            for start, end in arenas:
                # A heap begins with a pointer to its arena, which lies at the begin of the arena's first heap.
                try:
                    arena = int.from_bytes(os.pread(memory, 8, start), sys.byteorder)
                except OSError:
                    continue
                if arena - arena % _HEAP in starts and arena % _HEAP < 4096:
                    found.append((start, end))
        finally:
            if memory is not None:
                os.close(memory)
        return found

    def _resident(self, start, end):
        present = bytearray((end - start) // _PAGE)
        # Not an array of ctypes': that would be a new class each time, which only a collection frees.
        first = self._ctypes.c_char.from_buffer(present)
        if self._mincore(start, end - start, self._ctypes.addressof(first)):
            return 0  # it went away meanwhile
        return present.count(1) * _PAGE


_PAGE = os.sysconf("SC_PAGESIZE")
