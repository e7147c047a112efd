"""Requests that are ready to be sent, and messages decoded only when looked at."""

from __future__ import annotations

import json
from typing import Any

from side_by_side.basics import BenchError

DELIMITER = b"<IDS|MSG>"


class Message:
    """A received message: raw frames with a timestamp, decoded on demand."""

    __slots__ = ("_content", "_header", "_parent", "at", "channel", "frames")

    def __init__(self, channel: str, at: float, frames: list[bytes]) -> None:
        self.channel = channel
        self.at = at
        self.frames = frames[frames.index(DELIMITER) + 1 :]
        self._header: dict[str, Any] | None = None
        self._parent: dict[str, Any] | None = None
        self._content: dict[str, Any] | None = None

    @property
    def header(self) -> dict[str, Any]:
        if self._header is None:
            self._header = json.loads(self.frames[1])
        return self._header

    @property
    def kind(self) -> str:
        return self.header["msg_type"]

    @property
    def parent_id(self) -> str | None:
        if self._parent is None:
            self._parent = json.loads(self.frames[2])
        return self._parent.get("msg_id")

    @property
    def content(self) -> dict[str, Any]:
        if self._content is None:
            self._content = json.loads(self.frames[4].decode("utf8", "surrogatepass"))
        return self._content

    @property
    def buffers(self) -> list[bytes]:
        return self.frames[5:]

    @property
    def is_idle(self) -> bool:
        """True for ``status: idle``; cheap for all that cannot be one."""
        content = self.frames[4]
        return (
            self.channel == "iopub" and len(content) < 200 and b'"idle"' in content and self.kind == "status"
        )


class Prepared:
    """A request that is serialised and signed, ready to be sent."""

    __slots__ = ("channel", "frames", "msg_id")

    def __init__(self, channel: str, msg_id: str, frames: list[Any]) -> None:
        self.channel = channel
        self.msg_id = msg_id
        self.frames = frames


class Exchange:
    """A request with everything the kernel answered to it."""

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self.reply: Message | None = None
        self.idle: Message | None = None
        self.iopub: list[Message] = []
        self.strays: list[Message] = []

    @property
    def complete(self) -> bool:
        return self.reply is not None and self.idle is not None

    @property
    def elapsed(self) -> float:
        """Seconds from sending until both the reply and ``idle`` are in."""
        assert self.reply is not None and self.idle is not None
        return max(self.reply.at, self.idle.at) - self.sent

    def of_kind(self, kind: str) -> list[Message]:
        return [m for m in self.iopub if m.kind == kind]

    def stream(self, name: str = "stdout") -> str:
        return "".join(m.content["text"] for m in self.of_kind("stream") if m.content["name"] == name)

    def require_ok(self) -> Exchange:
        """Raise unless the reply's status is ``ok``."""
        assert self.reply is not None
        content = self.reply.content
        if content.get("status") != "ok":
            raise BenchError(
                f"{self.reply.kind} status {content.get('status')}: "
                f"{content.get('ename')}: {str(content.get('evalue'))[:200]}"
            )
        return self
