"""Memory that libraries hold outside Python objects: numpy, pyarrow, polars, torch and others, each only if it is loaded.

A buffer is known by its address, so that ten views count once, and from 256 KiB up by its *resident* bytes: the pages of
`numpy.zeros` that nobody wrote to cost nothing.
"""

import array
import copy
import gc
import math
import os
from _ctypes import addressof as _addressof
from _ctypes import sizeof as _sizeof

from .clock import now
from .kinds import attribute, derives, module_of, mro_of, no_torch_function, type_name

PAGE = os.sysconf("SC_PAGE_SIZE")
RESIDENT_FROM = 256 * 1024
_READ = 1 << 20  # bytes of the page map at a time: 512 MiB of memory
_TREE_NODE = 64  # bytes of a node of scikit-learn's trees
_BYTES_HEAD = bytes.__basicsize__ - 1  # the text of a bytes object starts there

# Highest byte of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
_PRESENT, _FILE, _ONLY_HERE = 0x80, 0x20, 0x01


def _table(mapped, children):
    """For each highest byte 1 if it stands for a page that is resident for us.

    Memory that was only read is the shared page of zeros: present, but not mapped only here; as a huge page it even looks
    like a file's, which private memory has none of. A page that forked children still share is not only here either.
    """

    def counts(value):
        if not value & _PRESENT or (value & _FILE and not mapped):
            return 0
        return int(bool(value & (_FILE | _ONLY_HERE)) or children)

    return bytes(map(counts, range(256)))


class PageMap:
    """Resident bytes of address ranges of this process; every question is answered by None where Linux gives none."""

    _fd = -1  # an interrupt may come before there is one

    def __init__(self, deadline):
        """Stop reading at `deadline` (of `clock`) and extrapolate."""
        self._deadline = deadline
        try:
            self._fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
        children = self._fd >= 0 and _has_children()
        self._tables = _table(False, children), _table(True, children)

    def __del__(self):
        """The file is ours."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def resident(self, address, size, mapped=False):
        """Resident bytes of the range, at most `size`; `mapped` if it may belong to a file; None if unknown."""
        if self._fd < 0 or size <= 0:
            return None
        at = address // PAGE * 8
        end = (address + size + PAGE - 1) // PAGE * 8
        pages = (end - at) // 8
        present = looked = 0
        while at < end:
            try:
                data = os.pread(self._fd, min(_READ, end - at), at)
            except OSError:
                return None
            if len(data) < 8:
                return None
            present += data[7::8].translate(self._tables[mapped]).count(1)
            looked += len(data) // 8
            at += len(data) // 8 * 8
            if now() > self._deadline:
                break
        if looked < pages:
            present = present * pages // looked
        return min(present * PAGE, size)


def _has_children():
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", "rb") as file:
                if file.read(1):
                    return True
    except OSError:
        return True  # unknown: rather count too much than call memory free
    return False


def add_up(held, more):
    """Adds bytes by device."""
    for device, size in more.items():
        if size:
            held[device] = held.get(device, 0) + size


class Buffers:
    """What has been counted, by address, and how to look into the objects of each library."""

    def __init__(self, deadline):
        """Stop expensive reading at `deadline` (of `clock`)."""
        self._deadline = deadline
        self._pages = None
        self._counted = {}
        self.total = 0  # bytes counted by address

    def fork(self):
        """The same, to go on by itself."""
        twin = copy.copy(self)
        twin._counted = dict(self._counted)
        return twin

    def count(self, address, size, mapped=False):
        """Bytes of a buffer that were not counted before; `mapped` if it may belong to a file."""
        before = self._counted.get(address, 0)
        if size <= before or not address:
            return 0
        self._counted[address] = size
        held = size - before
        if size >= RESIDENT_FROM:
            if self._pages is None:
                self._pages = PageMap(self._deadline)
            resident = self._pages.resident(address + before, held, mapped)
            held = held if resident is None else resident
        self.total += held
        return held

    def counted(self):
        """[(address, bytes)] of the buffers in this process's memory."""
        return [(address, size) for address, size in self._counted.items() if type(address) is int]

    def held_bytes(self, obj, size):
        """Bytes of a bytes, bytearray or array.array object of `size` bytes in all."""
        if size < RESIDENT_FROM:
            return size + 15 & ~15
        if type(obj) is bytes:
            return self.count(id(obj) + _BYTES_HEAD, len(obj)) + 64
        if type(obj) is array.array:
            return self.count(obj.buffer_info()[0], size - 64) + 64
        plain = attribute("numpy", "ndarray")
        if plain is not None and len(obj):
            # From C to C: while an array stands on it, a thread of the user's could not make the bytearray longer.
            (interface,) = map(plain.__array_interface__.__get__, map(plain, ((1,),), ("u1",), (obj,)))
            return self.count(interface["data"][0], size - 64) + 64
        return size

    def knows(self, kind):
        """Whether `look` may have something to say about objects of this class."""
        return _reader(kind) is not None

    def look(self, obj, kind):
        """(host bytes, bytes by GPU, children) of a library's object; None to treat it as any other object."""
        try:
            return _reader(kind)(self, obj, kind)
        except Exception:  # noqa: BLE001 - a library's own surprise (a deleted tensor, a closed file) must not end the walk
            return None


def _reader(kind):
    for cls in mro_of(kind):
        top = module_of(cls).partition(".")[0]
        reader = _READERS.get(top)
        if reader is not None and _is_libs_own(top, cls):
            return reader
    return None


def _is_libs_own(top, cls):
    return any(attribute(module, name) is cls for module, name in _CLASSES[top])


_CLASSES = {
    "numpy": (("numpy", "ndarray"),),
    "pyarrow": tuple(
        ("pyarrow.lib", name) for name in ("Buffer", "Array", "ChunkedArray", "RecordBatch", "Table")
    ),
    "polars": (("polars", "DataFrame"), ("polars", "Series")),
    "torch": (("torch", "Tensor"), ("torch.nn.parameter", "Parameter")),
    "cupy": (("cupy", "ndarray"),),
    "jaxlib": (("jax._src.array", "ArrayImpl"),),
    "tensorflow": (
        ("tensorflow.python.framework.ops", "EagerTensor"),
        ("tensorflow.python.ops.resource_variable_ops", "ResourceVariable"),
    ),
    "_io": (("_io", "StringIO"),),
    "PIL": (("PIL.Image", "Image"),),
    "sklearn": (("sklearn.tree._tree", "Tree"),),
    "_ctypes": (("_ctypes", "Array"), ("_ctypes", "Structure")),
}


# numpy ---------------------------------------------------------------------------------------------------------


def _address(plain, obj):
    return plain.__array_interface__.__get__(obj)["data"][0]


def _numpy(buffers, obj, kind):
    plain = attribute("numpy", "ndarray")
    own = 128
    more = (
        [] if kind is plain else gc.get_referents(obj)
    )  # attributes of a subclass: the mask of a masked array
    base = plain.base.__get__(obj)
    size = plain.nbytes.__get__(obj)
    if base is not None:
        # A view: its base pays. What is not readable as an object (a capsule, a mapping) is counted where we look.
        if type_name(type(base)) in ("mmap", "PyCapsule"):
            own += buffers.count(_address(plain, obj), size, mapped=True)
        return own, {}, [base, *more]
    own += buffers.count(_address(plain, obj), size)
    if plain.dtype.__get__(obj).kind == "O" and size and not more:
        return own, {}, plain.reshape(plain.view(obj, plain), -1, order="A")
    return own, {}, more


# pyarrow -------------------------------------------------------------------------------------------------------


def _arrow(buffers, obj, kind):
    buffer = attribute("pyarrow.lib", "Buffer")
    if derives(kind, buffer):
        return 64 + sum(_arrow_held(buffers, root) for root in _arrow_roots([obj])), {}, []
    total = 128
    for _, roots in arrow_parts(obj, kind):
        total += 64 + sum(_arrow_held(buffers, root) for root in roots)
        if now() > buffers._deadline:
            break
    return total, {}, []


def arrow_parts(obj, kind):
    """[(array, the buffers that it keeps)] of an array, of a column or of a table."""
    arrow_array, chunked, dictionary, table = (
        attribute("pyarrow.lib", name) for name in ("Array", "ChunkedArray", "DictionaryArray", "Table")
    )
    if derives(kind, arrow_array):
        columns = [obj]
    elif derives(kind, chunked):
        columns = chunked.chunks.__get__(obj)
    else:
        tabular = table if derives(kind, table) else attribute("pyarrow.lib", "RecordBatch")
        columns = tabular.columns.__get__(obj)
    for column in columns:
        for chunk in chunked.chunks.__get__(column) if derives(type(column), chunked) else [column]:
            parts = arrow_array.buffers(chunk)
            if derives(type(chunk), dictionary):
                parts += arrow_array.buffers(dictionary.dictionary.__get__(chunk))
            yield chunk, _arrow_roots(parts)


def _arrow_roots(parts):
    """The buffers that own the memory of these, as far as it is this process's."""
    roots = []
    for part in parts:
        while part is not None and part.parent is not None:
            part = part.parent
        if part is not None and part.is_cpu:
            roots.append(part)
    return roots


def _arrow_held(buffers, root):
    return buffers.count(root.address, root.size, mapped=True)


# polars --------------------------------------------------------------------------------------------------------


def _polars(buffers, obj, kind):
    for name in ("DataFrame", "Series"):
        own = attribute("polars", name)
        if kind is own:
            return 64 + int(own.estimated_size(obj)), {}, []
    return None


# torch ---------------------------------------------------------------------------------------------------------


def _torch(buffers, obj, kind):
    if kind is not attribute("torch", "Tensor") and kind is not attribute("torch.nn.parameter", "Parameter"):
        return None  # a subclass may have __torch_function__, which is the user's code
    with no_torch_function():
        storage = obj.untyped_storage()
        children = [obj.grad] if obj.is_leaf and obj.grad is not None else []
        place, index = obj.device.type, obj.device.index
    if place == "cpu":
        return 200 + buffers.count(storage.data_ptr(), storage.nbytes(), storage.is_shared()), {}, children
    if place != "cuda":
        return None
    return 200, _on_gpu(buffers, index or 0, storage.data_ptr(), storage.nbytes()), children


def _on_gpu(buffers, device, address, size):
    """{device: bytes} of a buffer on a GPU; empty if it was counted before."""
    key = ("cuda", device, address)
    if buffers._counted.get(key):
        return {}
    buffers._counted[key] = size
    return {str(device): size}


# cupy ----------------------------------------------------------------------------------------------------------


def _cupy(buffers, obj, kind):
    """A view pays for the whole block that it keeps."""
    memory = obj.data.mem
    return 200, _on_gpu(buffers, memory.device_id, memory.ptr, memory.size), []


# jax -----------------------------------------------------------------------------------------------------------


def _jax(buffers, obj, kind):
    if obj.is_deleted() or not obj.is_ready():
        return None  # asking for its place would wait for the computation
    sharding = obj.sharding
    size = math.prod(sharding.shard_shape(obj.shape)) * obj.dtype.itemsize
    devices = list(sharding.addressable_devices)
    if len(devices) == 1:
        address = obj.unsafe_buffer_pointer()
    else:
        address = id(obj)
    if devices[0].platform == "cpu":
        return 200 + buffers.count(address, size * len(devices)), {}, []
    found = {}
    for device in devices:
        found.update(_on_gpu(buffers, device.id, address, size))
    return 200, found, []


# Python's own text buffer, and Pillow --------------------------------------------------------------------------


def _text(buffers, obj, kind):
    """A text buffer keeps what was written to it as text, and tells where it stands: after the last, if nobody has moved it."""
    string = attribute("_io", "StringIO")
    return (200 + string.tell(obj), {}, []) if kind is string else None


def _image(buffers, obj, kind):
    """A picture's pixels; those of a file that was only opened are not there yet."""
    if not module_of(kind).startswith("PIL."):
        return None  # a subclass may have made a property of it
    core = object.__getattribute__(obj, "_im")
    width, height = core.size
    wide = 1 if core.mode in ("1", "L", "P") else 2 if core.mode.startswith("I;16") else 4
    key = ("PIL", id(core))
    if buffers._counted.get(key):
        return 200, {}, gc.get_referents(obj)
    size = buffers._counted[key] = width * height * wide
    buffers.total += size
    return 200 + size, {}, gc.get_referents(obj)


# ctypes --------------------------------------------------------------------------------------------------------


def _ctypes(buffers, obj, kind):
    """An array or structure of C has its memory itself, or is a part of another one."""
    data = attribute("_ctypes", "Array").__mro__[1]
    if not data._b_needsfree_.__get__(obj):
        return 100, {}, gc.get_referents(obj)
    return 100 + buffers.count(_addressof(obj), _sizeof(obj)), {}, gc.get_referents(obj)


# scikit-learn --------------------------------------------------------------------------------------------------


def _sklearn(buffers, obj, kind):
    """The nodes of a decision tree and their values, which lie in arrays of C."""
    key = ("sklearn", id(obj))
    if buffers._counted.get(key):
        return 64, {}, []
    tree = attribute("sklearn.tree._tree", "Tree")
    nodes, outputs, classes = (
        getattr(tree, name).__get__(obj) for name in ("capacity", "n_outputs", "max_n_classes")
    )
    size = nodes * (_TREE_NODE + 8 * outputs * classes)
    buffers._counted[key] = size
    buffers.total += size
    return 64 + size, {}, []


# tensorflow ----------------------------------------------------------------------------------------------------


def _tensorflow(buffers, obj, kind):
    if kind is attribute("tensorflow.python.framework.ops", "EagerTensor"):
        dtype = attribute("tensorflow.python.framework.dtypes", "as_dtype")(obj._datatype_enum())
        return _of_tensor(buffers, obj, obj._num_elements() * dtype.size, obj.device)
    own = object.__getattribute__
    size = own(obj, "_dtype").size
    for length in own(obj, "_shape")._dims:
        size *= length
    handle = own(obj, "_handle")
    return _of_tensor(buffers, handle, size, handle.device)


def _of_tensor(buffers, owner, size, device):
    _, _, place = device.rpartition("device:")
    key = ("tensorflow", id(owner))
    if size <= 0 or buffers._counted.get(key):
        return 200, {}, []
    buffers._counted[key] = size
    if place.startswith("GPU:"):
        return 200, {place[4:]: size}, []
    buffers.total += size
    return 200 + size, {}, []


_READERS = {
    "numpy": _numpy,
    "pyarrow": _arrow,
    "polars": _polars,
    "torch": _torch,
    "cupy": _cupy,
    "jaxlib": _jax,
    "tensorflow": _tensorflow,
    "_io": _text,
    "PIL": _image,
    "sklearn": _sklearn,
    "_ctypes": _ctypes,
}
