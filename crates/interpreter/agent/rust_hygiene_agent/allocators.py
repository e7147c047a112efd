"""What the allocators of this process have given out and what they keep free, each by its own counters.

`live` is in use by whomever, `slack` is resident and free. The figures of the last look are kept, so that a cell is told how both
moved. An allocator that does not say is left out.
"""

import sys

from .kinds import attribute

_ARENA = 64 << 20  # glibc's arenas are aligned to this
_POOL = 1 << 30  # mimalloc takes address space in pieces of this size


class Allocators:
    """Two looks at the allocators."""

    def __init__(self):
        """Nothing was looked at."""
        self._before = {}
        self._others = 0  # bytes of large areas before Arrow was loaded
        self._mapped = None  # bytes mapped beside malloc and Python's allocator; what they hold untouched counts against it

    def look(self, pages, ours=0):
        """[{name, live, slack, live_before, slack_before}]; before is null at the first look at an allocator.

        `ours`: bytes by which this process has grown since the end of the cell. They are free by now, and no slack of the cell's.
        """
        heaps, areas, mapped = _regions(pages)
        if attribute("pyarrow.lib", "default_memory_pool") is None:
            self._others = areas
        found = {}
        for name, asked in (
            ("malloc", lambda: _malloc(heaps)),
            ("small objects", _small_objects),
            ("pyarrow", lambda: _arrow(max(0, areas - self._others))),
            ("torch pinned memory", _torch_pinned),
        ):
            try:
                answer = asked()
            except Exception:  # noqa: BLE001 - another version of a library: its allocator is left out
                continue
            if answer is not None:
                found[name] = answer
        rows = []
        for name, (live, slack) in found.items():
            before = self._before.get(name, (None, None))
            if name not in self._before and self._before:
                before = (0, 0)  # it was not there
            rows.append(
                {
                    "name": name,
                    "live": live,
                    "slack": max(0, slack - ours) if name == "malloc" else slack,
                    "live_before": before[0],
                    "slack_before": before[1],
                }
            )
        self._before = found
        beside = _beside(mapped)
        if beside is not None:
            before = self._mapped
            low = min(beside, beside if before is None else before, 0)
            row = {
                "name": "mappings",
                "live": beside - low,
                "slack": 0,
                "live_before": None,
                "slack_before": None,
            }
            if before is not None:
                row |= {"live_before": before - low, "slack_before": 0}
            rows.append(row)
        self._mapped = beside
        return rows

    def slack_came(self, size):
        """Between two cells so many bytes were taken, and are free again."""
        if "malloc" in self._before:
            live, slack = self._before["malloc"]
            self._before["malloc"] = live, max(0, slack + size)


def _regions(pages):
    """Resident bytes of (glibc's heaps, large anonymous areas, all other anonymous memory)."""
    heaps = areas = mapped = 0
    with open("/proc/self/maps") as maps:
        for line in maps:
            words = line.split()
            if not words[1].startswith("rw"):
                continue
            start, _, end = words[0].partition("-")
            start, size = int(start, 16), int(end, 16) - int(start, 16)
            if words[-1] == "[heap]" or (len(words) == 5 and start % _ARENA == 0 and size <= _ARENA):
                heaps += pages.resident(start, size) or 0
            elif len(words) == 5 and size >= _POOL:
                areas += pages.resident(start, size) or 0
            elif len(words) == 5:
                mapped += pages.resident(start, size) or 0
    return heaps, areas, mapped


def _malloc(heaps):
    from .libc import malloc_in_use

    used = malloc_in_use()
    return used and (sum(used), max(0, heaps - used[0]))


def _small_objects():
    from .libc import small_objects

    used = small_objects()
    return used and (used[0], max(0, used[1] - used[0]))


def _beside(mapped):
    """What was mapped beside malloc and Python's allocator: thread stacks, other allocators, C code that maps by itself."""
    from .libc import malloc_in_use, small_objects

    chunks, arenas = malloc_in_use(), small_objects()
    return mapped - chunks[1] - arenas[1] if chunks and arenas else None


def _arrow(areas):
    pool = attribute("pyarrow.lib", "default_memory_pool")
    if pool is None:
        return None
    pool = pool()
    if pool.backend_name == "system":
        return None  # malloc, which is asked itself
    live = pool.bytes_allocated()
    # What it once gave out at a time, and as much again in pieces that did not fit, is the most that it can keep.
    return live, max(0, min(areas, 2 * pool.max_memory()) - live)


def _torch_pinned():
    """Page-locked memory, which torch keeps for the next transfer to a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or attribute("torch.cuda", "_initialized") is not True:
        return None
    stats = torch.cuda.memory.host_memory_stats()
    live = stats.get("active_bytes.current", stats.get("allocated_bytes.current", 0))
    return live, max(0, stats.get("allocated_bytes.current", 0) - live)
