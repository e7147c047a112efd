"""Counters of GPU frameworks that the user has loaded and started; never loads or starts one."""

from .kinds import attribute


def counters():
    """{"torch": {"0": {"live": bytes, "cached": bytes}}}; empty where no framework has touched a GPU."""
    found = {}
    torch = _torch()
    if torch:
        found["torch"] = torch
    return found


def _torch():
    # The module's flag, not `is_initialized()`: asking must not start CUDA, and a function may have been replaced.
    if attribute("torch.cuda", "_initialized") is not True:
        return {}
    count, statistics = (
        attribute("torch._C", "_cuda_getDeviceCount"),
        attribute("torch._C", "_cuda_memoryStats"),
    )
    devices = {}
    try:
        for index in range(count()):
            stats = statistics(index)
            reserved = stats["reserved_bytes"]["all"]["current"]
            if reserved:
                live = stats["allocated_bytes"]["all"]["current"]
                devices[str(index)] = {"live": live, "cached": reserved - live}
    except Exception:  # noqa: BLE001 - another version's layout: no counters rather than no facts
        return {}
    return devices
