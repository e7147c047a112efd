"""A value in two short texts, type and shape, without running the user's code."""

import sys

from .kinds import derives, module_of, type_name

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
    library = sys.modules.get(top)
    if library is None:
        return ""
    if top == "numpy" and derives(kind, library.ndarray):
        plain = library.ndarray
        return f"{plain.dtype.__get__(value).name} {plain.shape.__get__(value)}"
    if top == "pandas" and (kind is library.DataFrame or kind is library.Series):
        return str(kind.shape.fget(value))
    if top == "polars" and (kind is library.DataFrame or kind is library.Series):
        return str(kind.shape.fget(value))
    if top == "pyarrow" and kind is library.Table:
        return str(value.shape)
    if top == "torch" and (kind is library.Tensor or kind is library.nn.Parameter):
        dtype = str(value.dtype).partition(".")[2]
        place = "" if value.device.type == "cpu" else f" {value.device}"
        return f"{dtype} {tuple(value.shape)}{place}"
    return ""
