"""File names of cells: `$TMPDIR/ipykernel_<pid>/<hash>.py`, which debuggers, numba, joblib and line_profiler know."""

import os
import tempfile

from IPython.core.compilerop import CachingCompiler

SEED = 0xC70F6907
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data, seed=SEED):
    """MurmurHash2, 32 bit, of bytes: clients of the debugger compute it too."""
    size = len(data)
    value = seed ^ size
    whole = size & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        value = (value * _MULTIPLIER & _MASK) ^ word
    if size & 3:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 13) * _MULTIPLIER & _MASK
    return value ^ value >> 15


def cell_folder():
    """The folder of the cells' names; it need not exist."""
    return os.path.join(tempfile.gettempdir(), f"ipykernel_{os.getpid()}")


def cell_file(code):
    """The file name of a cell with this code."""
    return os.environ.get("IPYKERNEL_CELL_NAME") or os.path.join(
        cell_folder(), f"{murmur2(code.encode('utf-8', 'surrogatepass'))}.py"
    )


class XCachingCompiler(CachingCompiler):
    """IPython's compiler with these names."""

    def get_code_name(self, raw_code, code, number):
        """The file name of a cell."""
        return cell_file(raw_code)
