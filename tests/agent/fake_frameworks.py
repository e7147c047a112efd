"""Stand-ins for GPU frameworks, which behave as their documentation says: a caching allocator, and tensors that live in it.

Each `install` puts modules under the library's name; the classes stand where the library has its own.
"""

import sys
import types


def module(name, **members):
    """A module that is loaded under `name`."""
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, made)
    return made


class Pool:
    """A caching allocator: blocks of 512 bytes; what was freed stays reserved until it is asked for or given back."""

    def __init__(self):
        """Nothing is allocated."""
        self.live = self.reserved = 0
        self._next = 0x7F0000000000

    def take(self, size):
        """(address, bytes) of a block of at least `size` bytes."""
        size = (size + 511) // 512 * 512
        self.live += size
        self.reserved = max(self.reserved, self.live)
        self._next += size
        return self._next, size

    def give(self, size):
        """Takes a block back."""
        self.live -= size

    def empty(self):
        """Gives back what is not in use."""
        self.reserved = self.live


class Block:
    """Memory of a pool that lives as long as this object."""

    def __init__(self, pool, size, device):
        """Takes `size` bytes."""
        self.pool, self.device_id = pool, device
        self.ptr, self.size = pool.take(size)

    def __del__(self):
        """Gives them back."""
        self.pool.give(self.size)


def torch(devices=2):
    """PyTorch: `_cuda_memoryStats` is what `torch.cuda.memory_stats` reads; CUDA counts as started."""
    pools = [Pool() for _ in range(devices)]

    class Device:
        def __init__(self, kind, index):
            self.type, self.index = kind, index

    class Storage:
        def __init__(self, block):
            self.block = block

        def data_ptr(self):
            return self.block.ptr

        def nbytes(self):
            return self.block.size

        def is_shared(self):
            return False

    class Tensor:
        def __init__(self, nbytes, device=0, of=None):
            self._block = of._block if of is not None else Block(pools[device], nbytes, device)
            self.nbytes, self.device = nbytes, Device("cuda", device)
            self.grad = self.grad_fn = None
            self.is_leaf, self.shape, self.dtype = True, (nbytes,), "torch.uint8"

        def untyped_storage(self):
            return Storage(self._block)

    def statistics(device):
        pool = pools[device]
        return {
            "allocated_bytes": {"all": {"current": pool.live}},
            "reserved_bytes": {"all": {"current": pool.reserved}},
        }

    Tensor.__module__, Tensor.__qualname__ = "torch", "Tensor"
    made = module("torch", Tensor=Tensor)
    module("torch._C", _cuda_getDeviceCount=lambda: devices, _cuda_memoryStats=statistics)
    module(
        "torch.cuda",
        _initialized=True,
        is_initialized=lambda: True,
        device_count=lambda: devices,
        memory_allocated=lambda device: pools[device].live,
        memory_reserved=lambda device: pools[device].reserved,
        empty_cache=lambda: [pool.empty() for pool in pools],
    )
    return made


class Node:
    """A node of a graph of automatic differentiation, with what it saved for the backward pass."""

    def __init__(self, saved, following=()):
        """Saves one tensor."""
        self._saved_self = saved
        self.next_functions = tuple((node, 0) for node in following)

    _saved_self = None


def cupy():
    """CuPy: a memory pool that is asked for its bytes, and arrays on blocks of it."""
    pool = Pool()
    asked = types.SimpleNamespace(
        total_bytes=lambda: pool.reserved, used_bytes=lambda: pool.live, free_all_blocks=pool.empty
    )

    class ndarray:
        def __init__(self, nbytes, of=None):
            memory = of.data.mem if of is not None else Block(pool, nbytes, 0)
            self.nbytes, self.base, self.shape, self.dtype = nbytes, of, (nbytes,), "uint8"
            self.data = types.SimpleNamespace(mem=memory, ptr=memory.ptr)

        def view(self, nbytes):
            return ndarray(nbytes, of=self)

    ndarray.__module__, ndarray.__qualname__ = "cupy", "ndarray"
    return module("cupy", ndarray=ndarray, get_default_memory_pool=lambda: asked, _default_memory_pool=asked)


def jax():
    """JAX: clients by platform, whose devices tell `memory_stats()`."""
    pool = Pool()

    class Device(types.SimpleNamespace):
        __hash__ = object.__hash__

    device = Device(
        id=0,
        platform="gpu",
        memory_stats=lambda: {"bytes_in_use": pool.live, "pool_bytes": pool.reserved, "num_allocs": 1},
    )
    local = types.SimpleNamespace(id=0, platform="cpu", memory_stats=lambda: None)

    class ArrayImpl:
        def __init__(self, nbytes, ready=True):
            self._block, self._ready = Block(pool, nbytes, 0), ready
            self.shape, self.dtype = (nbytes,), types.SimpleNamespace(itemsize=1)
            self.sharding = types.SimpleNamespace(
                shard_shape=lambda shape: shape, addressable_devices={device}
            )

        def is_deleted(self):
            return False

        def is_ready(self):
            return self._ready

        def unsafe_buffer_pointer(self):
            assert self._ready, "this would wait for the computation"
            return self._block.ptr

    ArrayImpl.__module__ = "jaxlib._jax"
    backends = {
        "cpu": types.SimpleNamespace(local_devices=lambda: [local]),
        "cuda": types.SimpleNamespace(local_devices=lambda: [device]),
    }
    for name in ("jax", "jax._src"):
        module(name)
    module("jax._src.xla_bridge", _backends=backends)
    module("jax._src.array", ArrayImpl=ArrayImpl)
    sys.modules["jax"].Array = ArrayImpl
    return sys.modules["jax"]


def tensorflow(started=True):
    """TensorFlow: only what tensors use can be asked, and only of a context that has been started."""
    memory = {"current": 0, "peak": 0}

    def of(device):
        assert device == "GPU:0"
        return dict(memory)

    config = types.SimpleNamespace(
        list_logical_devices=lambda kind: ["/device:GPU:0"] if started else 1 / 0,
        experimental=types.SimpleNamespace(get_memory_info=of),
    )
    for name in ("tensorflow", "tensorflow.python", "tensorflow.python.eager"):
        module(name)
    sys.modules["tensorflow"].config, sys.modules["tensorflow"].memory = config, memory
    module("tensorflow.python.eager.context", _context=types.SimpleNamespace(_initialized=started))
    return sys.modules["tensorflow"]
