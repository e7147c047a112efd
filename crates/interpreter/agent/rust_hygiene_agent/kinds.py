"""What a class is, asked without running code of its metaclass."""

mro_of = type.__dict__["__mro__"].__get__
flags_of = type.__dict__["__flags__"].__get__
_module = type.__dict__["__module__"].__get__
_name = type.__dict__["__name__"].__get__


def type_name(kind):
    """The class's own name."""
    name = _name(kind)
    return name if type(name) is str else "object"


def module_of(kind):
    """The module in which a class was defined, or ''."""
    try:
        name = _module(kind)
    except AttributeError:
        return ""
    return name if type(name) is str else ""


def derives(kind, base):
    """Whether `kind` is `base` or a subclass, by identity."""
    return any(cls is base for cls in mro_of(kind))
