"""A value in two short texts, type and shape, without running the user's code."""

from .kinds import attribute, derives, module_of, no_torch_function, type_name

_COUNTED = (list, dict, tuple, set, frozenset)
_LONGEST = 80


def describe(value):
    """(type, detail), such as ("ndarray", "float64 (1000, 3)"); the detail may be empty."""
    kind = type(value)
    try:
        detail = _detail(value, kind)
    except Exception:  # noqa: BLE001 - a library's own surprise: the size is what matters
        detail = ""
    return type_name(kind), detail if len(detail) <= _LONGEST else detail[: _LONGEST - 1] + "…"


def _detail(value, kind):
    for counted in _COUNTED:
        if kind is counted:
            return f"{len(value)} items"
    if kind is str:
        return f"{len(value)} characters"
    if kind is bytes or kind is bytearray:
        return f"{len(value)} bytes"
    top = module_of(kind).partition(".")[0]
    if top == "numpy":
        plain = attribute("numpy", "ndarray")
        if plain is not None and derives(kind, plain):
            return f"{plain.dtype.__get__(value).name} {plain.shape.__get__(value)}"
    elif top == "pandas" or top == "polars":
        if kind is attribute(top, "DataFrame") or kind is attribute(top, "Series"):
            return str(kind.shape.fget(value))
    elif top == "pyarrow":
        if kind is attribute("pyarrow.lib", "Table"):
            return str(value.shape)
    elif top == "torch":
        if kind is attribute("torch", "Tensor") or kind is attribute("torch.nn.parameter", "Parameter"):
            with no_torch_function():
                dtype = str(value.dtype).partition(".")[2]
                place = "" if value.device.type == "cpu" else f" {value.device}"
                return f"{dtype} {tuple(value.shape)}{place}"
    return ""
