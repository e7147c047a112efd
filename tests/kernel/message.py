"""Jupyter messages as they are on the wire: packed, signed, and taken apart again, by nobody's library."""

import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone

DELIMITER = b"<IDS|MSG>"
PARTS = ("header", "parent_header", "metadata", "content")


@dataclass
class Message:
    """One message; `raw` holds the four JSON frames as they were sent."""

    channel: str
    header: dict
    parent_header: dict
    metadata: dict
    content: dict
    buffers: list = field(default_factory=list)
    identities: list = field(default_factory=list)
    raw: list = field(default_factory=list)

    @property
    def id(self):
        return self.header["msg_id"]

    @property
    def type(self):
        return self.header["msg_type"]

    def answers(self, request):
        return self.parent_header.get("msg_id") == request.id

    def is_parent_of(self, message):
        return message.answers(self)

    def is_status(self, state):
        return self.type == "status" and self.content["execution_state"] == state

    def __repr__(self):
        return f"<{self.channel} {self.type} {json.dumps(self.content)[:300]}>"


def sign(key, frames):
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for frame in frames:
        digest.update(frame)
    return digest.hexdigest().encode()


def build(
    channel,
    msg_type,
    content,
    *,
    session,
    metadata=None,
    buffers=(),
    header=None,
    raw_content=None,
    parent=None,
):
    """A request; `header` adds keys, `raw_content` replaces the content's JSON by any bytes."""
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    head = {
        "msg_id": uuid.uuid4().hex,
        "username": "tester",
        "session": session,
        "date": now,
        "msg_type": msg_type,
        "version": "5.5",
        **(header or {}),
    }
    metadata = metadata or {}
    frames = [json.dumps(part).encode() for part in (head, parent or {}, metadata, content)]
    if raw_content is not None:
        frames[3] = raw_content
    return Message(channel, head, parent or {}, metadata, content, list(buffers), [], frames)


def pack(message, key):
    return [DELIMITER, sign(key, message.raw), *message.raw, *message.buffers]


def unpack(channel, frames, key):
    """The message in `frames`; its signature must be right and each part a JSON object."""
    at = frames.index(DELIMITER)
    raw = frames[at + 2 : at + 6]
    assert len(raw) == 4, f"a message of {len(frames) - at - 2} parts instead of at least 4"
    assert frames[at + 1] == sign(key, raw), f"a wrong signature on {raw[0][:200]}"
    parts = [json.loads(part.decode("utf-8")) for part in raw]
    for name, part in zip(PARTS, parts, strict=True):
        assert isinstance(part, dict), f"{name} is no JSON object: {part!r}"
    return Message(channel, *parts, buffers=frames[at + 6 :], identities=frames[:at], raw=raw)
