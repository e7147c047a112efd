"""Gates of libraries: open files and databases, pools of processes, graphs, traces. Each is met only if its library is loaded.

A class is known by being the library's own, never by its name alone; what is read are documented, plain attributes.
"""

import gc

from .buffers import add_up, arrow_parts
from .kinds import attribute, derives, module_of, no_torch_function, type_name

_XML_NODE, _XML_ATTRIBUTE = 128, 112  # bytes that libxml2 takes for one
_FIRST, _DEEP = 8, 4  # children that are looked at, and levels of them
_NODES = 20_000  # of a graph


def handle_of(kind):
    """The gate for objects of a library's class, or None."""
    if module_of(kind).startswith("pyarrow."):
        names = ("Array", "ChunkedArray", "RecordBatch", "Table")
        return _arrow if any(derives(kind, attribute("pyarrow.lib", name)) for name in names) else None
    if module_of(kind).startswith("lxml."):
        names = ("_Element", "_ElementTree")
        return _xml if any(derives(kind, attribute("lxml.etree", name)) for name in names) else None
    for module, name, gate in _HANDLES.get(module_of(kind).partition(".")[0], ()):
        if attribute(module, name) is kind:
            return gate
    return None


def _hdf5(gates, walker, obj):
    size = 0
    if obj.id.valid and obj.driver == "core":
        size = int(obj.id.get_filesize())
    gates.add("resource", "h5py.File", size, "close", obj)
    return size + 200


def _sqlite(gates, walker, obj):
    from .libc import sqlite_in_use

    size = 0
    try:
        obj.total_changes  # noqa: B018 - a slot of the class's own; one that is closed says so
    except attribute("sqlite3", "ProgrammingError"):
        return 200
    if gates.root and not gates.databases:  # the library counts all of them together
        gates.databases = True
        size = sqlite_in_use() or 0
    gates.add("resource", "sqlite3.Connection", size, "close", obj)
    return size + 400


def _file(gates, walker, obj):
    """A file or archive that is in memory while it is open."""
    size = walker.below(gc.get_referents(obj)) + 200
    gates.add("resource", type_name(type(obj)), size, "close", obj)
    return size


def _mmap(gates, walker, obj):
    try:
        size = len(obj)
    except ValueError:  # closed
        return 200
    plain = attribute("numpy", "ndarray")
    if plain is None:
        gates.add("resource", "mmap.mmap", size, "close", obj)
        return size + 200
    # From C to C: while an array stands on it, a thread of the user's could not close it.
    (interface,) = map(plain.__array_interface__.__get__, map(plain, ((1,),), ("u1",), (obj,)))
    address = interface["data"][0]
    # Pages of a file are the system's cache: only what this process wrote for itself is held.
    held = walker.buffers.count(address, size, mapped=_is_anonymous(address))
    gates.add("resource", "mmap.mmap", held, "close", obj)
    return held + 200


def _is_anonymous(address):
    """Whether a mapping is of no file: its pages are this process's even if children share them."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            words = line.split()
            start, _, end = words[0].partition("-")
            if int(start, 16) <= address < int(end, 16):
                return len(words) == 5 or words[5] == "/dev/zero" or words[5].startswith("[anon")
    return False


def _pool(gates, walker, obj):
    gates.add("children", "Pool", 0, "terminate", obj)
    return 400


def _processes(gates, walker, obj):
    gates.add("children", "ProcessPoolExecutor", 0, "shutdown", obj)
    return 400


def _process(gates, walker, obj):
    gates.add("children", "Process", 0, "terminate", obj)
    return 400


def _imap(gates, walker, obj):
    """Results that a pool has computed ahead of who asks for them."""
    size = walker.below(gc.get_referents(obj)) + 200
    gates.add("suspended", "imap", size, "imap", obj, type_name(type(obj)))
    return size


def _manager(gates, walker, obj):
    gates.add("children", "Manager", 0, "shutdown", obj)
    return 400


def _popen(gates, walker, obj):
    gates.add("children", "Popen", 0, "terminate", obj)
    return 400


def _of_asyncio(gates, walker, obj):
    gates.add("children", "asyncio", 0, "terminate", obj)
    return 400


def _loader(gates, walker, obj):
    gates.add("children", "DataLoader", 0, "drop", obj)
    return None


def _arrow(gates, walker, obj):
    """A slice of an Arrow array shares the whole of its buffers."""
    total = 128
    for part, roots in arrow_parts(obj, type(obj)):
        whole = sum(root.size for root in roots)
        share = part.nbytes / whole if whole else 1.0
        total += 64
        for root in roots:
            held = walker.buffers.count(root.address, root.size, mapped=True)
            total += held
            gates.view(root.address, root.size, held, share * root.size, obj, of="arrow")
        if walker.is_late():
            break
    return total


def _xml(gates, walker, obj):
    """An element of lxml's keeps its whole document, which lies in memory of libxml2's."""
    tree = attribute("lxml.etree", "_ElementTree")
    root = obj.getroot() if derives(type(obj), tree) else obj.getroottree().getroot()
    if root is None:
        return None
    address = ("lxml", id(root))
    counted, held = walker.buffers._counted, 0
    if address not in counted:
        gates.documents.append(root)  # while it lives, its id is its own
        held = counted[address] = _subtree(root)
        walker.buffers.total += held
    whole = counted[address]
    used = whole if obj is root or derives(type(obj), tree) else _subtree(obj, _DEEP - 1)
    gates.view(address, whole, held, used, obj, of="xml")
    return held + 100


def _subtree(element, depth=0):
    """About how many bytes an element and what is in it take; of many children, the first ones stand for all."""
    size = _XML_NODE + sum(_XML_NODE + _XML_ATTRIBUTE + _text(value) for value in element.values())
    size += sum(_XML_NODE + _text(text) for text in (element.text, element.tail) if text)
    children = element[:_FIRST]
    if children and depth < _DEEP:
        size += sum(_subtree(child, depth + 1) for child in children) * len(element) // len(children)
    return size


def _text(text):
    return 0 if len(text) < 16 else len(text) + 24  # a short one lies in its node


def _traced(gates, walker, obj):
    count = int(obj.experimental_get_tracing_count())
    _note_traces(gates, "tf.function", obj, count)
    return None


def _compiled(gates, walker, obj):
    """A function of numba's, which is compiled once for each combination of types."""
    _note_traces(gates, "numba", obj, len(object.__getattribute__(obj, "overloads")))
    return None


def _note_traces(gates, label, obj, count):
    """Notes the function that was traced most often: many that are traced once or twice are the normal cost."""
    gates.add("traces", label, 0, label, obj, count=0)
    account = gates.accounts.get(("traces", label, gates.root))
    if account is not None and count > account.count:
        account.count, account.sample = count, obj


def _model(gates, walker, obj):
    gates.add("models", "keras", 0, "keras", obj)
    return None


def _tensor(gates, walker, obj):
    """A view of a large storage, or what the graph of a tensor keeps beside the tensor itself."""
    found = walker.buffers.look(obj, type(obj))
    total = found[0] if found else 0
    with no_torch_function():
        storage, used, root = obj.untyped_storage(), obj.nbytes, obj.grad_fn
    gpu = found[1] if found else {}
    gates.view(storage.data_ptr(), storage.nbytes(), max(0, total - 200), used, obj, gpu=gpu)
    for gradient in found[2] if found else ():
        total += _gradient(gates, walker, obj, gradient)
    add_up(walker.on_gpu, gpu)
    if root is None:
        return total if found else None
    with no_torch_function():
        kept, on_gpu, nodes = _graph(walker, root)
    add_up(walker.on_gpu, on_gpu)
    gates.add("autograd", "graph", kept, type_name(type(root)), obj, f"{nodes} nodes", gpu=on_gpu)
    return total + kept


def _gradient(gates, walker, obj, gradient):
    """Bytes of a gradient, with the graph behind it if it was made by `create_graph=True`, which leads back to the tensor."""
    before = dict(walker.on_gpu)
    own = walker.below([gradient])
    with no_torch_function():
        root = gradient.grad_fn
    if root is None:
        return own
    kept, on_gpu, nodes = _graph(walker, root)
    add_up(walker.on_gpu, on_gpu)
    gpu = {device: size - before.get(device, 0) for device, size in walker.on_gpu.items()}
    gates.add(
        "autograd", "gradient", own + kept, type_name(type(root)), obj, f"gradient, {nodes} nodes", gpu=gpu
    )
    return own + kept


def _graph(walker, root):
    """(bytes that a graph saved for its backward pass, those by GPU, its nodes). After `backward()` nothing is saved."""
    plain = attribute("torch", "Tensor")
    stack, seen, kept, on_gpu = [root], {}, 0, {}
    while stack and len(seen) < _NODES and not walker.is_late():
        node = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen[id(node)] = node
        stack.extend(following for following, _ in node.next_functions)
        if module_of(type(node)) == "__main__" or hasattr(type(node), "saved_tensors"):
            continue  # a function of the user's
        for name in _saved_of(type(node)):
            try:
                value = getattr(node, name)
            except RuntimeError:  # freed by backward()
                break
            for tensor in value if type(value) is tuple else (value,):
                if type(tensor) is plain:
                    found = walker.buffers.look(tensor, type(tensor))
                    kept += max(0, found[0] - 200) if found else 0
                    add_up(on_gpu, found[1] if found else {})
    return kept, on_gpu, len(seen)


_saved = {}  # id of a node's class -> names of what it saves; these classes live as long as torch


def _saved_of(kind):
    names = _saved.get(id(kind))
    if names is None:
        names = [name for name in dir(kind) if name.startswith("_saved_")]
        names = _saved[id(kind)] = [name for name in names if name != "_saved_tensors"]
    return names


_HANDLES = {
    "h5py": (("h5py", "File", _hdf5),),
    "sqlite3": (("sqlite3", "Connection", _sqlite),),
    "mmap": (("mmap", "mmap", _mmap),),
    "tempfile": (("tempfile", "SpooledTemporaryFile", _file),),
    "zipfile": (("zipfile", "ZipFile", _file),),
    "tarfile": (("tarfile", "TarFile", _file),),
    "gzip": (("gzip", "GzipFile", _file),),
    "subprocess": (("subprocess", "Popen", _popen),),
    "asyncio": (("asyncio.subprocess", "Process", _of_asyncio),),
    "multiprocessing": (
        ("multiprocessing.pool", "Pool", _pool),
        ("multiprocessing.pool", "IMapIterator", _imap),
        ("multiprocessing.pool", "IMapUnorderedIterator", _imap),
        ("multiprocessing.managers", "SyncManager", _manager),
        ("multiprocessing.context", "Process", _process),
        ("multiprocessing.context", "ForkProcess", _process),
        ("multiprocessing.context", "SpawnProcess", _process),
        ("multiprocessing.context", "ForkServerProcess", _process),
    ),
    "concurrent": (("concurrent.futures.process", "ProcessPoolExecutor", _processes),),
    "tensorflow": (
        ("tensorflow.python.eager.polymorphic_function.polymorphic_function", "Function", _traced),
        ("tensorflow.python.eager.def_function", "Function", _traced),
    ),
    "numba": (("numba.core.registry", "CPUDispatcher", _compiled),),
    "keras": (("keras.src.models.functional", "Functional", _model),),
    "torch": (
        ("torch", "Tensor", _tensor),
        ("torch.nn.parameter", "Parameter", _tensor),
        ("torch.utils.data.dataloader", "_MultiProcessingDataLoaderIter", _loader),
    ),
}
