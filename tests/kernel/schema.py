"""The content of every message a kernel may send, as JSON Schema (Jupyter messaging protocol 5.5, and JEP 65)."""

from jsonschema import Draft202012Validator

TEXT = {"type": "string"}
TRUTH = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
OBJECT = {"type": "object"}
TEXTS = {"type": "array", "items": TEXT}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}


def fields(required, optional=None):
    """An object that must have `required` and may have more."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


# "mimetype" -> data; JSON types may carry any JSON, all others carry text.
BUNDLE = {
    "type": "object",
    "propertyNames": {"pattern": r"^[\w.+-]+/[\w.+-]+(;.*)?$"},
    "patternProperties": {r"^(text|image)/(?!.*json)": TEXT},
}
SHOWN = {"data": BUNDLE, "metadata": OBJECT}
FAILURE = {"ename": TEXT, "evalue": TEXT, "traceback": TEXTS}

PAYLOAD = {
    "oneOf": [
        fields({"source": {"const": "page"}, "data": BUNDLE, "start": COUNT}),
        fields({"source": {"const": "set_next_input"}, "text": TEXT, "replace": TRUTH}),
        fields({"source": {"const": "edit_magic"}, "filename": TEXT, "line_number": COUNT}),
        fields({"source": {"const": "ask_exit"}, "keepkernel": TRUTH}),
    ]
}
USER_EXPRESSION = {
    "oneOf": [
        fields({"status": {"const": "ok"}, **SHOWN}),
        fields({"status": {"const": "error"}, **FAILURE}),
    ]
}
LANGUAGE = fields(
    {
        "name": TEXT,
        "version": TEXT,
        "mimetype": TEXT,
        "file_extension": {"type": "string", "pattern": r"^\."},
    },
    {"pygments_lexer": TEXT, "codemirror_mode": {"type": ["string", "object"]}, "nbconvert_exporter": TEXT},
)
HISTORY_ENTRY = {
    "type": "array",
    "prefixItems": [
        {"type": "integer"},
        {"type": "integer"},
        {
            "oneOf": [
                TEXT,
                {
                    "type": "array",
                    "prefixItems": [TEXT, {"type": ["string", "null"]}],
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        },
    ],
    "minItems": 3,
    "maxItems": 3,
}

# What a reply holds beside `status: ok`.
REPLIES = {
    "kernel_info_reply": fields(
        {
            "protocol_version": {"type": "string", "pattern": r"^5\.\d+$"},
            "implementation": TEXT,
            "implementation_version": TEXT,
            "language_info": LANGUAGE,
            "banner": TEXT,
            "help_links": {"type": "array", "items": fields({"text": TEXT, "url": TEXT})},
            "supported_features": TEXTS,
        },
        {"debugger": TRUTH},
    ),
    "execute_reply": fields(
        {
            "execution_count": COUNT,
            "user_expressions": {"type": "object", "additionalProperties": USER_EXPRESSION},
            "payload": {"type": "array", "items": PAYLOAD},
        }
    ),
    "inspect_reply": fields({"found": TRUTH, **SHOWN}),
    "complete_reply": fields(
        {"matches": TEXTS, "cursor_start": COUNT, "cursor_end": COUNT, "metadata": OBJECT},
    ),
    "history_reply": fields({"history": {"type": "array", "items": HISTORY_ENTRY}}),
    "comm_info_reply": fields(
        {"comms": {"type": "object", "additionalProperties": fields({"target_name": TEXT})}}
    ),
    "connect_reply": fields(
        {}, {f"{name}_port": PORT for name in ("shell", "iopub", "stdin", "hb", "control")}
    ),
    "shutdown_reply": fields({"restart": TRUTH}),
    "interrupt_reply": fields({}),
    "create_subshell_reply": fields({"subshell_id": {"type": "string", "minLength": 1}}),
    "list_subshell_reply": fields({"subshell_id": TEXTS}),
}

# Contents without the status of a reply.
OTHERS = {
    "is_complete_reply": {
        "oneOf": [
            fields({"status": {"enum": ["complete", "invalid", "unknown"]}}),
            fields({"status": {"const": "incomplete"}, "indent": TEXT}),
            # every reply may say that the request was wrong ("Request-Reply messages")
            fields({"status": {"const": "error"}, "ename": TEXT, "evalue": TEXT}),
        ]
    },
    "delete_subshell_reply": {
        "oneOf": [
            fields({"status": {"const": "ok"}}),
            fields({"status": {"const": "error"}, "evalue": TEXT}),  # ipykernel says no more
        ]
    },
    "usage_reply": fields(
        {"hostname": TEXT, "pid": COUNT, "cpu_count": COUNT},
        {
            "kernel_cpu": {"type": "number", "minimum": 0},
            "kernel_memory": COUNT,
            "host_cpu_percent": {"type": "number", "minimum": 0},
            "host_virtual_memory": fields({"total": COUNT, "available": COUNT}),
        },
    ),
    # The Debug Adapter Protocol's own messages. ipykernel leaves fields out of some responses.
    "debug_reply": fields(
        {},
        {
            "type": {"const": "response"},
            "request_seq": {"type": "integer"},
            "success": TRUTH,
            "command": TEXT,
            "message": TEXT,
            "body": OBJECT,
        },
    ),
    "debug_event": fields({"type": {"const": "event"}, "event": TEXT}, {"body": OBJECT}),
    "status": fields({"execution_state": {"enum": ["busy", "idle", "starting", "restarting"]}}),
    "execute_input": fields({"code": TEXT, "execution_count": COUNT}),
    "stream": fields({"name": {"enum": ["stdout", "stderr"]}, "text": {"type": "string", "minLength": 1}}),
    "display_data": fields(SHOWN, {"transient": OBJECT}),
    "update_display_data": fields({**SHOWN, "transient": fields({"display_id": TEXT})}),
    "execute_result": fields({"execution_count": COUNT, **SHOWN}, {"transient": OBJECT}),
    "error": fields(FAILURE),
    "clear_output": fields({"wait": TRUTH}),
    "comm_open": fields({"comm_id": TEXT, "target_name": TEXT, "data": OBJECT}),
    "comm_msg": fields({"comm_id": TEXT, "data": OBJECT}),
    "comm_close": fields({"comm_id": TEXT, "data": OBJECT}),
    "input_request": fields({"prompt": TEXT, "password": TRUTH}),
    "iopub_welcome": fields({"subscription": TEXT}),
}

HEADER = fields(
    {
        "msg_id": {"type": "string", "minLength": 1},
        "session": {"type": "string", "minLength": 1},
        "username": TEXT,
        "date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$"},
        "msg_type": {"type": "string", "minLength": 1},
        "version": {"type": "string", "pattern": r"^5\.\d+$"},
    },
    {"subshell_id": {"type": ["string", "null"]}},
)
HEADER["additionalProperties"] = False

ERROR_REPLY = fields({"status": {"const": "error"}, **FAILURE})
ABORTED_REPLY = fields({"status": {"const": "aborted"}})


def reply_schema(when_ok):
    ok = {"allOf": [fields({"status": {"const": "ok"}}), when_ok]}
    return {"oneOf": [ok, ERROR_REPLY, ABORTED_REPLY]}


CONTENTS = {**{name: reply_schema(schema) for name, schema in REPLIES.items()}, **OTHERS}
VALIDATORS = {name: Draft202012Validator(schema) for name, schema in CONTENTS.items()}
HEADER_VALIDATOR = Draft202012Validator(HEADER)
UNKNOWN_REPLY_VALIDATOR = Draft202012Validator(ERROR_REPLY)

IOPUB = {
    "status",
    "execute_input",
    "stream",
    "display_data",
    "update_display_data",
    "execute_result",
    "error",
    "clear_output",
    "comm_open",
    "comm_msg",
    "comm_close",
    "debug_event",
    "iopub_welcome",
    "shutdown_reply",
}


def check(message):
    """Raise ValidationError, or AssertionError, unless the message is as the protocol says."""
    HEADER_VALIDATOR.validate(message.header)
    if message.type not in VALIDATORS:
        assert message.type.endswith("_reply"), f"an unknown type of message: {message!r}"
        UNKNOWN_REPLY_VALIDATOR.validate(message.content)
        return
    VALIDATORS[message.type].validate(message.content)
    if message.channel == "iopub":
        assert message.type in IOPUB, f"{message!r} does not belong on iopub"
        # ipykernel sends some without a topic: the first welcome, and what user code sends by `send_response`.
        assert len(message.identities) <= 1, f"topics of {message!r}: {message.identities}"
    else:
        belongs = message.type.endswith("_reply") or message.type == "input_request"
        assert belongs, f"{message!r} belongs on iopub"
