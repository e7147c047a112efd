"""What a rebirth takes while both interpreters are there: found out before, and kept to.

The variables are in memory up to three times: here, in the files that they go through, and in the fresh interpreter. What is here
goes last.
"""

import contextlib
import resource

from .carrying import Cannot, Nowhere, carrier
from .clock import now
from .sizing import Walker

_INTERPRETER = 32 << 20  # a fresh interpreter with nothing but the shell
_BUDGET_S = 1.0


def need(shell, names):
    """(bytes of the files, bytes of the fresh interpreter) that carrying these names takes. Raises if one cannot be carried."""
    names_file, arrays_file = Nowhere(), Nowhere()
    values = {name: shell.user_ns[name] for name in names}
    carrier(shell.user_ns)(names_file, arrays_file).dump(values)
    written = names_file.size + arrays_file.size
    # Small objects take several times the room of their pickle. No more can be needed than all that is here.
    held = min(_held(shell, values), status("VmRSS"))
    return written, _INTERPRETER + max(held, written)


def _held(shell, values):
    """What the values keep alive, or as much of it as time lasts for."""
    ours = (
        shell,
        shell.user_ns,
        shell.user_ns_hidden,
        shell.history_manager,
        shell.kernel,
        shell.kernel.facts,
    )
    walker = Walker(now() + _BUDGET_S, map(id, ours))
    return sum(walker.size(value)[0] for value in values.values())


@contextlib.contextmanager
def at_most(room):
    """Within, this process can take memory until it has `room` bytes, whatever was foreseen."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = status("VmData") + max(0, room - status("RssAnon"))
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    except MemoryError:
        raise Cannot("memory does not suffice for the variables a second time") from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def status(field):
    """A size that the system knows of this process, in bytes; 0 if it does not tell."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) << 10
    return 0
