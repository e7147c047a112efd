"""Counters of GPU frameworks that the user has loaded and started; never loads or starts one.

Only what the frameworks document is asked: `live` is what tensors use, `cached` what the framework's allocator keeps beside.
"""

import sys
import types

from .kinds import attribute


def counters():
    """{"torch": {"0": {"live": bytes, "cached": bytes}}}; None where no framework has touched a GPU.

    Asked before and after each cell: without a framework it makes no object, which the collector would count.
    """
    found = None
    for name in _ASKED:
        if name not in sys.modules:
            continue
        try:
            devices = _ASKED[name]()
        except Exception:  # noqa: BLE001 - another version's layout: no counters rather than no facts
            continue
        if devices:
            found = found or {}
            found[name] = devices
    return found


def _torch():
    cuda = sys.modules.get("torch.cuda")
    if cuda is None:
        return None
    # The module's flag, not `is_initialized()`: asking must not start CUDA, and a function may have been replaced.
    if attribute("torch.cuda", "_initialized") is True:
        count, statistics = (
            attribute("torch._C", "_cuda_getDeviceCount"),
            attribute("torch._C", "_cuda_memoryStats"),
        )
        stats = [statistics(i) for i in range(count())]
        pairs = [
            (s["allocated_bytes"]["all"]["current"], s["reserved_bytes"]["all"]["current"]) for s in stats
        ]
    elif _is_replaced(cuda):
        pairs = [(cuda.memory_allocated(i), cuda.memory_reserved(i)) for i in range(cuda.device_count())]
    else:
        return None
    return {str(i): _pair(live, held - live) for i, (live, held) in enumerate(pairs) if held}


def _is_replaced(cuda):
    """Whether something stands in for the GPU: the counters are not torch's own, and it says that it has started."""
    names = ("memory_allocated", "memory_reserved", "is_initialized", "device_count")
    functions = [attribute("torch.cuda", name) for name in names]
    theirs = [type(f) is types.FunctionType and f.__module__.startswith("torch.") for f in functions]
    return None not in functions and not any(theirs) and cuda.is_initialized() is True


def _pair(live, cached):
    return {"live": max(0, int(live)), "cached": None if cached is None else max(0, int(cached))}


def _cupy():
    pool = attribute("cupy", "get_default_memory_pool")
    if pool is None or attribute("cupy", "_default_memory_pool") is None:
        return None
    pool = pool()
    total, used = pool.total_bytes(), pool.used_bytes()
    return {"0": _pair(used, total - used)} if total else None


def _jax():
    backends = attribute("jax._src.xla_bridge", "_backends")
    if not backends:
        return None
    devices = {}
    for name, client in list(backends.items()):
        if name == "cpu":
            continue
        for device in client.local_devices():
            stats = device.memory_stats()
            if stats:
                live, pool = stats["bytes_in_use"], stats.get("pool_bytes")
                devices[str(device.id)] = _pair(live, None if pool is None else pool - live)
    return devices


def _tensorflow():
    context = attribute("tensorflow.python.eager.context", "_context")
    if context is None or context._initialized is not True:
        return None
    config = sys.modules["tensorflow"].config
    gpus = config.list_logical_devices("GPU")
    return {
        str(i): _pair(config.experimental.get_memory_info(f"GPU:{i}")["current"], None)
        for i in range(len(gpus))
    }


_ASKED = {"torch": _torch, "cupy": _cupy, "jax": _jax, "tensorflow": _tensorflow}
