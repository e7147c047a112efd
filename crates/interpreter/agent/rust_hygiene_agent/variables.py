"""The notebook's variables in the debugger's words, while nothing is stopped.

A reference stands for a path of names and each request looks its values up anew, so nothing of the user's is kept alive.
"""

from types import SimpleNamespace

from _pydevd_bundle.pydevd_api import PyDevdAPI
from _pydevd_bundle.pydevd_suspended_frames import _FrameVariable


class Variables:
    """What `inspectVariables` shows, and what is inside of it."""

    def __init__(self, namespace):
        presentation = SimpleNamespace(variable_presentation=PyDevdAPI.VariablePresentation())
        frame = SimpleNamespace(
            f_code=SimpleNamespace(co_name="<module>", co_filename=""),
            f_globals=namespace,
            f_locals=namespace,
            f_back=None,
        )
        self._root = lambda: _FrameVariable(presentation, frame, lambda variable: None)
        self._paths = []

    def top(self):
        """The variables of the notebook. References given out before become invalid."""
        self._paths = []
        return self._inside(())

    def inside(self, reference):
        """What a variable consists of."""
        if not 1 <= reference <= len(self._paths):
            raise LookupError(f"there is no variable with the reference {reference}; inspect anew")
        return self._inside(self._paths[reference - 1])

    def _inside(self, path):
        variable = self._root()
        for name in path:
            variable = variable.get_child_variable_named(name)
            if variable is None:
                raise LookupError(f"the variable {name!r} is gone")
        described = []
        for child in variable.get_children_variables():
            data = child.get_var_data()
            if data["variablesReference"]:
                self._paths.append((*path, child.get_name()))
                data["variablesReference"] = len(self._paths)
            described.append(data)
        return described
