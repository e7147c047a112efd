"""Stand-ins for the `Session` and the sockets of ipykernel: libraries send messages through them by hand."""

import json
import uuid

from .facade import PassesFor
from .frames import dumps

_TYPES_ON_SHELL = ("_reply",)


class Session(PassesFor):
    """Builds messages and hands them to the front, which signs and sends them."""

    passes_for = (("jupyter_client.session", "Session"),)

    def __init__(self, kernel, session, key, username="username"):
        self._kernel = kernel
        self.session = session
        self.key = key
        self.username = username
        self.signature_scheme = "hmac-sha256"
        self.debug = False
        self.metadata = {}
        self.adapt_version = 0
        self.check_pid = True
        self.packer = self.unpacker = "json"

    @property
    def msg_id(self):
        """A fresh id for a message."""
        return f"{self.session}_{uuid.uuid4().hex}"

    def pack(self, value):
        """A part of a message as bytes."""
        return dumps(value, strict=True)

    def unpack(self, part):
        """The inverse of `pack`."""
        return json.loads(bytes(part))

    def sign(self, parts):
        """The signature of a message's packed parts."""
        import hashlib
        import hmac

        return hmac.new(self.key, b"".join(parts), hashlib.sha256).hexdigest().encode() if self.key else b""

    def serialize(self, msg, ident=None):
        """The frames of a message, as `send_multipart` takes them."""
        idents = [ident] if isinstance(ident, bytes) else list(ident or ())
        content = msg.get("content") or {}
        parts = [self.pack(msg[name]) for name in ("header", "parent_header", "metadata")]
        parts.append(content if isinstance(content, bytes) else self.pack(content))
        return [*idents, b"<IDS|MSG>", self.sign(parts), *parts]

    @property
    def bsession(self):
        """The session's id as bytes."""
        return self.session.encode()

    def msg_header(self, msg_type):
        """A header for a message of this type."""
        from datetime import datetime, timezone

        return {
            "msg_id": self.msg_id,
            "msg_type": msg_type,
            "username": self.username,
            "session": self.session,
            "date": datetime.now(timezone.utc),
            "version": "5.5",
        }

    def msg(self, msg_type, content=None, parent=None, header=None, metadata=None):
        """A message as a dictionary; `parent` is a message or a header."""
        header = header or self.msg_header(msg_type)
        parent = parent or {}
        return {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": header["msg_type"],
            "parent_header": parent.get("header", parent),
            "content": {} if content is None else content,
            "metadata": {} if metadata is None else metadata,
        }

    def send(
        self,
        stream,
        msg_or_type,
        content=None,
        parent=None,
        ident=None,
        buffers=None,
        track=False,
        header=None,
        metadata=None,
    ):
        """Sends a message on iopub, whatever `stream` is: it is the only channel on which user code may speak."""
        message = (
            msg_or_type
            if isinstance(msg_or_type, dict)
            else self.msg(msg_or_type, content, parent, header, metadata)
        )
        if not message["msg_type"].endswith(_TYPES_ON_SHELL):
            self._kernel.publish(
                message["msg_type"],
                message["content"],
                parent=message.get("parent_header"),
                metadata=message.get("metadata"),
                buffers=buffers if buffers is not None else message.get("buffers"),
            )
        return message


class BackgroundSocket:
    """What `kernel.iopub_socket` and its like are: an address to send to, and nothing else."""

    def __init__(self, kernel, name):
        self._kernel = kernel
        self.name = name
        self.closed = False

    @property
    def io_thread(self):
        """Who sends."""
        return self._kernel.iopub_thread

    def send_multipart(self, frames, *args, **kwargs):
        """Publishes a message that was serialised by hand; the signature is made anew."""
        frames = [bytes(frame) for frame in frames]
        try:
            at = frames.index(b"<IDS|MSG>")
            header = json.loads(frames[at + 2])
            self._kernel.send_raw(
                header["msg_type"], frames[at + 3], frames[at + 4], frames[at + 5], frames[at + 6 :]
            )
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                "not a Jupyter message: needs <IDS|MSG>, a signature and four JSON frames"
            ) from error

    def flush(self, *args, **kwargs):
        """Nothing is held back."""


class IOPubThread:
    """What `kernel.iopub_thread` and `sys.stdout.pub_thread` are. The front sends; what is scheduled here runs at once."""

    closed = False

    def __init__(self, kernel):
        self._kernel = kernel
        self.socket = self.background_socket = kernel.iopub_socket
        self.thread = kernel.thread

    @property
    def io_loop(self):
        """Tornado's view of the event loop."""
        return self._kernel.io_loop

    def schedule(self, f):
        """Calls it."""
        f()

    def send_multipart(self, *args, **kwargs):
        """Publishes a message that was serialised by hand."""
        self.socket.send_multipart(*args, **kwargs)
