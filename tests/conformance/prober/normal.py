"""Takes out of texts what differs from run to run: identifiers, addresses, times, names of temporary files."""

import base64
import re
import struct

_HEX = "[0-9a-f]"
_IDENTIFIER = re.compile(
    rf"(?<!{_HEX})(?:{_HEX}{{8}}-{_HEX}{{24}}|{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}|{_HEX}{{32}}|{_HEX}{{40}})(?:_\d+_\d+)?(?!{_HEX})"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_RULES = [
    (re.compile(r"0x[0-9a-fA-F]{6,}"), "0xADDRESS"),
    (re.compile(r"(?:/tmp/)?\btmp\w{8}\.json|\bkernel-[0-9a-f-]{36}\.json"), "<CONNECTION-FILE>"),
    (re.compile(r"/tmp/ipykernel_\d+/\d+\.py"), "<CELL>"),
    (re.compile(r"\btmp[a-z0-9_]{8}\b"), "<TEMPORARY>"),
    (re.compile(r"datetime\.datetime\([^()]*(?:\([^()]*\))?\)"), "<DATE>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "<DATE>"),
    (re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?\b"), "<CLOCK>"),
    (
        re.compile(
            r"\b\d+(?:\.\d+)?(?:e[-+]?\d+)?\s?(?:ns|[µμu]s|ms|min|s)\b(?: ± [\d.]+ (?:ns|[µμu]s|ms|s))?"
        ),
        "<TIME>",
    ),
    (re.compile(r"(?:\b\d+(?:\.\d+)?|\?)\s?(?:it/s|s/it)"), "<RATE>"),
    (re.compile(r"\b\d+\.\d{3} seconds\b"), "<TIME>"),  # of %prun, and its columns
    (re.compile(r"(?:\s+\d+\.\d{3}){4}\b"), " <TIMES>"),
    (re.compile(r"((?:\"\w+_port\":|\bpid:?|\bthread id:|\bthread count:)\s*)\d+"), r"\1<NUMBER>"),
]
_IMAGES = ("image/png", "image/jpeg", "application/pdf")


class Normal:
    """The normaliser of one run: identifiers become #1, #2 … in the order in which they appear."""

    def __init__(self, folder, ignore):
        self.folder = str(folder)
        self.root = str(folder.parent)
        self.ignore = ignore
        self.identifiers = {}

    def identifier(self, name):
        """Its number."""
        return self.identifiers.setdefault(name, f"#{len(self.identifiers) + 1}")

    def text(self, text):
        """A text without what varies."""
        for expression in self.ignore:
            text = expression.sub("", text)
        text = text.replace(self.folder, "<FOLDER>").replace(self.root, "<ROOT>")
        text = _IDENTIFIER.sub(lambda found: self.identifier(found.group()), text)
        for expression, replacement in _RULES:
            text = expression.sub(replacement, text)
        return text

    def value(self, value):
        """The same for JSON."""
        if isinstance(value, str):
            return self.text(value) if len(value) < 200_000 else f"<{len(value)} characters>"
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value

    def media(self, kind, value):
        """A representation of an output; of an image what it is and how large."""
        if kind not in _IMAGES or not isinstance(value, str):
            return self.value(value)
        raw = base64.b64decode(value + "==")
        if raw.startswith(b"\x89PNG\r\n\x1a\n") and len(raw) >= 24:
            return "PNG of {} x {}".format(*struct.unpack(">II", raw[16:24]))
        return repr(raw[:4]) + (" and a line end" if value.endswith("\n") else "")


def plain(text):
    """Without colours."""
    return _ANSI.sub("", text)


def is_coloured(text):
    """True if there are any."""
    return bool(_ANSI.search(text))


def seen(text):
    """What a terminal shows of it: of each line what follows the last carriage return."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(lines)
