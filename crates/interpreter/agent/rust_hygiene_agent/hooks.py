"""Hooks on outputs, by ipykernel's names: functions of the calling thread that may change a message or take it."""

import threading


class Hooked:
    """An output that hands its messages to hooks. `_init_hooks` comes before anything else."""

    def _init_hooks(self):
        self._of_thread = threading.local()

    @property
    def _hooks(self):
        if not hasattr(self._of_thread, "hooks"):
            self._of_thread.hooks = []
        return self._of_thread.hooks

    def register_hook(self, hook):
        """Registers a transformer of this thread's messages; one that returns None takes the message."""
        self._hooks.append(hook)

    def unregister_hook(self, hook):
        """Removes it; True if it was there."""
        try:
            self._hooks.remove(hook)
            return True
        except ValueError:
            return False

    def _send_through_hooks(self, kernel, kind, content, parent):
        message = kernel.session.msg(kind, content, parent=parent)
        for hook in self._hooks:
            message = hook(message)
            if message is None:
                return
        kernel.session.send(None, message)
