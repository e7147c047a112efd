"""Counters of GPU frameworks that the user has loaded and started; never loads or starts one."""

import sys


def counters():
    """{"torch": {"0": {"live": bytes, "cached": bytes}}}; empty where no framework has touched a GPU."""
    found = {}
    torch = _torch()
    if torch:
        found["torch"] = torch
    return found


def _torch():
    cuda = sys.modules.get("torch.cuda")
    if cuda is None:
        return {}
    try:
        own = vars(cuda)
        # The module's flag, not `is_initialized()`: asking must not start CUDA, and a function may have been replaced.
        if own.get("_initialized") is not True:
            return {}
        native = vars(sys.modules["torch._C"])
        devices = {}
        for index in range(native["_cuda_getDeviceCount"]()):
            stats = native["_cuda_memoryStats"](index)
            reserved = stats["reserved_bytes"]["all"]["current"]
            if reserved:
                live = stats["allocated_bytes"]["all"]["current"]
                devices[str(index)] = {"live": live, "cached": reserved - live}
        return devices
    except Exception:  # noqa: BLE001 - another version's layout: no counters rather than no facts
        return {}
