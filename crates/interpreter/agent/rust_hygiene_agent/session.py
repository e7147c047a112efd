"""Stand-ins for the `Session` and the sockets of ipykernel: libraries send messages through them by hand."""

import os
import uuid

from .facade import PassesFor

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

    @property
    def bsession(self):
        """The session's id as bytes."""
        return self.session.encode()

    def msg_header(self, msg_type):
        """A header for a message of this type."""
        from datetime import datetime, timezone

        return {
            "msg_id": f"{self.session}_{uuid.uuid4().hex}",
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
        if os.getpid() == self._kernel.pid and not message["msg_type"].endswith(_TYPES_ON_SHELL):
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

    def send_multipart(self, frames, *args, **kwargs):
        """Publishes a message that was serialised by hand; the signature is made anew."""
        frames = [bytes(frame) for frame in frames]
        try:
            at = frames.index(b"<IDS|MSG>")
            import json

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
