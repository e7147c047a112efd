"""Comms: the manager and the channel class behind the `comm` package, which ipywidgets and others use."""

import logging
import uuid

from .facade import PassesFor

log = logging.getLogger("ipykernel.comm")  # which tells users what is wrong with a message


def connect(kernel, comm):
    """Makes the module `comm` build comms that speak through `kernel`. Called when it is imported."""
    the_kernel = kernel

    class BaseComm(PassesFor, comm.base_comm.BaseComm):
        """A comm whose messages go to the front."""

        passes_for = (("ipykernel.comm.comm", "Comm"),)
        kernel = the_kernel

        def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
            """Publishes one message of this comm."""
            note_user(kernel, self, data)
            kernel.publish(
                msg_type,
                {"data": {} if data is None else data, "comm_id": self.comm_id, **keys},
                metadata=metadata,
                buffers=buffers,
            )

    class CommManager(PassesFor, comm.base_comm.CommManager):
        """The manager, which knows the kernel."""

        passes_for = (("ipykernel.comm.manager", "CommManager"),)

        def comm_open(self, stream, ident, msg):
            """A comm of the front end's begins; its errors are told by the logger that ipykernel tells them by."""
            name = msg["content"]["target_name"]
            comm = BaseComm(comm_id=msg["content"]["comm_id"], primary=False, target_name=name)
            self.register_comm(comm)
            f = self.targets.get(name)
            try:
                if f is not None:
                    f(comm, msg)
                    return
                log.error("No such comm target registered: %s", name)
            except Exception:
                log.error("Exception opening comm with target: %s", name, exc_info=True)
            try:
                comm.close()
            except Exception:
                log.error("Could not close the comm %s, which may not be open yet", name, exc_info=True)

    CommManager.kernel = kernel
    if PassesFor.borrows_names:
        BaseComm.__module__, CommManager.__module__ = "ipykernel.comm.comm", "ipykernel.comm.manager"
        BaseComm.__qualname__, CommManager.__qualname__ = "BaseComm", "CommManager"
    manager = CommManager()
    comm.create_comm = BaseComm
    comm.get_comm_manager = lambda: manager
    kernel._comms = manager
    return manager


def note_user(kernel, comm, data):
    """Notes which subshell uses the comm: what the front end answers belongs into the loop of the one that asked."""
    subshell = (kernel.get_parent().get("header") or {}).get("subshell_id")
    comm._subshell = subshell
    request = _request_id(data)
    if request is not None:
        comm.__dict__.setdefault("_subshells_of_requests", {})[request] = subshell


def user_of(comm, data, default):
    """The subshell that a message of the front end is for."""
    request = _request_id(data)
    if request is not None:
        default_of_comm = getattr(comm, "_subshell", default)
        return getattr(comm, "_subshells_of_requests", {}).pop(request, default_of_comm)
    return getattr(comm, "_subshell", default)


def _request_id(data):
    content = data.get("content") if isinstance(data, dict) else None
    request = content.get("id") if isinstance(content, dict) else None
    return request if isinstance(request, str) else None


def comm_manager(kernel):
    """The manager: of the package `comm` where it is installed, else one that knows no target."""
    try:
        import comm

        return kernel._comms or connect(kernel, comm)
    except ImportError:
        return NoComms(kernel)


class NoComms:
    """Without the package `comm` there are no targets: whatever a client opens is closed again."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.comms = {}
        self.targets = {}

    def comm_open(self, stream, ident, message):
        """Closes what was opened."""
        comm_id = message["content"].get("comm_id", uuid.uuid4().hex)
        self.kernel.publish("comm_close", {"comm_id": comm_id, "data": {}})

    def comm_msg(self, stream, ident, message):
        """A message to no one."""
        log.warning("No such comm: %s", message["content"].get("comm_id"))

    comm_close = comm_msg

    def register_target(self, name, function):
        """Says what is missing."""
        raise ImportError("comms need the package `comm`: pip install comm")

    unregister_target = register_target
