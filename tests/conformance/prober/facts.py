"""An answer as facts: lines of text, one for each thing that a person or a library can see."""

import json

from . import debug
from .normal import is_coloured, plain, seen


def _json(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def flat(name, value):
    """Nested JSON, one line a leaf, so that a difference is short."""
    if isinstance(value, dict) and value:
        return [line for key in sorted(value) for line in flat(f"{name}.{key}", value[key])]
    if isinstance(value, list) and value:
        return [line for at, item in enumerate(value) for line in flat(f"{name}[{at}]", item)]
    return [f"{name} = {_json(value)}"]


class Facts:
    """Collects the facts of one cell."""

    def __init__(self, normal, is_loose):
        self.normal = normal
        self.is_loose = is_loose
        self.lines = []
        self.streams = {}

    def of(self, answer):
        """All facts of an answer."""
        for message in answer.published:
            self.published(message["msg_type"], message)
        self.end_of_streams()
        for message in answer.asked:  # another socket: its place among the outputs means nothing
            self.lines.append(f"input_request {_json(self.normal.value(message['content']))}")
        if answer.reply is not None:
            self.reply(answer.reply)
        self.lines += [f"note: {note}" for note in answer.notes]
        return sorted(self.lines) if self.is_loose else self.lines

    def published(self, kind, message):
        """The facts of a message on IOPub."""
        content = message["content"]
        if kind == "status":
            return
        if kind == "stream":
            self.streams[content["name"]] = self.streams.get(content["name"], "") + content["text"]
            return
        if not self.is_loose:
            self.end_of_streams()
        if kind == "execute_input":
            self.lines.append(f"execute_input {content['execution_count']}")
        elif kind in ("display_data", "execute_result", "update_display_data"):
            self.output(kind, content)
        elif kind == "error":
            self.error(content)
        elif kind == "debug_event":
            if not debug.is_noise(content):
                self.lines.append(debug.event_line(content, self.normal))
        elif kind.startswith("comm_"):
            metadata = (
                f" metadata={_json(self.normal.value(message['metadata']))}" if message["metadata"] else ""
            )
            buffers = len(message.get("buffers") or [])
            self.lines.append(f"{kind} {_json(self.normal.value(content))} buffers={buffers}{metadata}")
        else:
            self.lines.append(f"{kind} {_json(self.normal.value(content))}")

    def end_of_streams(self):
        """The facts of the text so far; where two streams alternate, each is one text."""
        for name in sorted(self.streams):
            lines = self.normal.text(seen(self.streams[name])).split("\n")
            self.lines += [f"{name}| {line}" for line in lines if line or not self.is_loose]
        self.streams.clear()

    def output(self, kind, content):
        """The facts of an output."""
        number = f" {content['execution_count']}" if kind == "execute_result" else ""
        transient = content.get("transient") or {}
        if "display_id" in transient:
            transient = {**transient, "display_id": self.normal.identifier(transient["display_id"])}
        shown = f" transient={_json(self.normal.value(transient))}" if transient else ""
        self.lines.append(f"{kind}{number} {','.join(sorted(content['data']))}{shown}")
        for media, value in sorted(content["data"].items()):
            self.lines.append(f"  {media}: {_json(self.normal.media(media, value))}")
        if content.get("metadata"):
            self.lines.append(f"  metadata: {_json(self.normal.value(content['metadata']))}")

    def error(self, content):
        """The facts of an error; what a recursion repeats is one of them."""
        self.lines.append(f"error {content['ename']}: {self.normal.text(content['evalue'])}")
        entries = []
        if not isinstance(content["traceback"], list):
            self.lines.append(f"  traceback is no list: {content['traceback']!r}")
            return
        for entry in content["traceback"]:
            if not entries or entries[-1] != entry:
                entries.append(entry)
        text = self.normal.text("\n".join(entries))
        self.lines += [f"  traceback| {line.rstrip()}" for line in plain(text).split("\n")]
        self.lines.append(f"  coloured: {is_coloured(text)}")

    def reply(self, message):
        """The facts of a reply."""
        content = dict(message["content"])
        content.pop("engine_info", None)
        content.pop("traceback", None)
        if message["msg_type"] == "execute_reply":
            self.lines.append(f"reply {_json(self.normal.value(content))}")
            return
        if message["msg_type"] == "debug_reply":
            self.lines += flat("debug_reply", debug.reply_content(content, self.normal))
            return
        if message["msg_type"] == "complete_reply" and "matches" in content:
            types = content["metadata"].get("_jupyter_types_experimental", [])
            content["matches"] = content["matches"][:40]
            content["metadata"]["_jupyter_types_experimental"] = types[:40]
        if message["msg_type"] == "inspect_reply" and "data" in content:
            content["data"] = {kind: plain(text).splitlines() for kind, text in content["data"].items()}
        content = {name: 0 if name.endswith("_port") else value for name, value in content.items()}
        self.lines += flat(message["msg_type"], self.normal.value(content))
