"""ipywidgets, as a page of JupyterLab talks to it."""


def models(exchange):
    """Comm ids of the models that a cell opened, by their names; of several the last."""
    opened = exchange.of("comm_open")
    return {m.content["data"]["state"]["_model_name"]: m.content["comm_id"] for m in opened}


def update(kernel, model, state, buffer_paths=(), buffers=()):
    """The page has changed a model; all that the kernel says to it."""
    data = {"method": "update", "state": state, "buffer_paths": list(buffer_paths)}
    request = kernel.send("shell", "comm_msg", {"comm_id": model, "data": data}, buffers=list(buffers))
    return told(kernel, request)


def click(kernel, button):
    data = {"method": "custom", "content": {"event": "click"}}
    return told(kernel, kernel.send("shell", "comm_msg", {"comm_id": button, "data": data}))


def told(kernel, request):
    said = kernel.take_until_idle(request)
    kernel.pump_for(0.1)  # ipykernel's prints may come after its idle
    late = [m for m in kernel.unread["iopub"] if m.answers(request)]
    kernel.unread["iopub"][:] = [m for m in kernel.unread["iopub"] if not m.answers(request)]
    return said + late


def texts(said, name="stdout"):
    return "".join(m.content["text"] for m in said if m.type == "stream" and m.content["name"] == name)


def states(said, method="update"):
    """What was told of models: pairs of comm id and state."""
    data = [(m.content["comm_id"], m.content["data"]) for m in said if m.type == "comm_msg"]
    return [(comm, one["state"]) for comm, one in data if one.get("method") == method]


def test_a_slider_goes_round(kernel):
    """Open, display, moved by the front end, seen by Python, answered with an echo of the state."""
    code = """
import ipywidgets
slider = ipywidgets.IntSlider(value=3, max=10)
moves = []
slider.observe(lambda change: (moves.append(change['new']), print('moved to', change['new'])), 'value')
slider
"""
    exchange = kernel.execute_ok(code)
    opened = {m.content["data"]["state"]["_model_name"]: m for m in exchange.of("comm_open")}
    model = opened["IntSliderModel"].content["comm_id"]
    assert opened["IntSliderModel"].content["target_name"] == "jupyter.widget"
    assert opened["IntSliderModel"].metadata["version"].startswith("2.")
    (result,) = exchange.of("execute_result")
    assert result.content["data"]["application/vnd.jupyter.widget-view+json"]["model_id"] == model

    moved = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
    said = kernel.take_until_idle(kernel.send("shell", "comm_msg", {"comm_id": model, "data": moved}))
    assert "moved to 7\n" in [m.content["text"] for m in said if m.type == "stream"]
    assert kernel.evaluate("(slider.value, moves)") == (7, [7])


def test_an_output_widget_takes_what_is_printed_into_it(kernel):
    code = "import ipywidgets\nheld = ipywidgets.Output()\ndisplay(held)\nwith held: print('inside')\nprint('outside')"
    exchange = kernel.execute_ok(code)
    states = [m.content["data"].get("state", {}) for m in exchange.of("comm_msg")]
    ids = [state["msg_id"] for state in states if "msg_id" in state]
    assert ids == [exchange.request.id, ""]
    order = [m.content["text"] if m.type == "stream" else "id" for m in exchange.of("stream", "comm_msg")]
    assert order == ["id", "inside\n", "id", "outside\n"]


def test_a_moved_slider_is_echoed_first_and_corrected_if_it_was_too_far(kernel):
    model = models(kernel.execute_ok("import ipywidgets\nipywidgets.IntSlider(max=10)"))["IntSliderModel"]
    said = update(kernel, model, {"value": 99})
    assert states(said, "echo_update") == [(model, {"value": 99})]
    assert states(said) == [(model, {"value": 10})]


def test_interact_runs_its_function_into_its_output(kernel):
    code = """
import ipywidgets
@ipywidgets.interact(x=(0, 10))
def show(x=3):
    print('x is', x)
    if x == 4: raise ValueError('four')
    return x * 2
"""
    opened = models(kernel.execute_ok(code))
    slider, output = opened["IntSliderModel"], opened["OutputModel"]
    said = update(kernel, slider, {"value": 5})
    busy = said[0]
    assert [state for comm, state in states(said) if comm == output] == [
        {"msg_id": busy.parent_header["msg_id"]},
        {"msg_id": ""},
    ]
    (cleared,) = [m for m in said if m.type == "clear_output"]
    assert cleared.content == {"wait": True}
    assert texts(said) == "x is 5\n"
    assert [m.content["data"]["text/plain"] for m in said if m.type == "display_data"] == ["10"]
    (error,) = [m for m in update(kernel, slider, {"value": 4}) if m.type == "error"]
    assert (error.content["ename"], error.content["evalue"]) == ("ValueError", "four")
    assert texts(update(kernel, slider, {"value": 6})) == "x is 6\n"


def test_a_button_prints_into_an_output_widget(kernel):
    code = """
import sys, ipywidgets
button, held = ipywidgets.Button(), ipywidgets.Output()
display(button, held)
@button.on_click
def clicked(_):
    with held:
        print('inside'); display('shown'); print('complaint', file=sys.stderr)
    print('outside')
"""
    opened = models(kernel.execute_ok(code))
    for _ in range(2):
        said = click(kernel, opened["ButtonModel"])
        order = []
        for m in said:
            if m.type == "comm_msg":
                order.append("captures" if m.content["data"]["state"]["msg_id"] else "ends")
            elif m.type != "status":
                order.append(m.content.get("text", m.type))
        held = order[order.index("captures") : order.index("ends")]
        assert set(held) == {"captures", "inside\n", "display_data", "complaint\n"}
        assert texts(said) == "inside\noutside\n"


def test_an_error_inside_an_output_widget_is_shown_and_the_cell_goes_on(kernel):
    code = "import ipywidgets\nheld = ipywidgets.Output()\nwith held: 1 / 0\nprint('goes on')"
    exchange = kernel.execute_ok(code)
    (error,) = exchange.of("error")
    assert error.content["ename"] == "ZeroDivisionError" and exchange.stdout == "goes on\n"


def test_output_widgets_nest(kernel):
    code = "import ipywidgets\nheld = ipywidgets.Output()\n"
    code += "with held:\n    with held: print('twice')\n    print('once')\nprint('outside')"
    order = []
    for m in kernel.execute_ok(code).of("comm_msg", "stream"):
        order += (
            [bool(m.content["data"]["state"]["msg_id"])]
            if m.type == "comm_msg"
            else m.content["text"].split()
        )
    assert order == [True, "twice", "once", False, "outside"]


def test_links_of_the_page_are_models_and_links_of_python_are_messages(kernel):
    code = """
import ipywidgets
one, two = ipywidgets.IntText(1), ipywidgets.IntText(2)
both, there = ipywidgets.jslink((one, 'value'), (two, 'value')), ipywidgets.jsdlink((one, 'value'), (two, 'value'))
"""
    opened = {m.content["data"]["state"]["_model_name"]: m for m in kernel.execute_ok(code).of("comm_open")}
    ids = kernel.evaluate("(one.comm.comm_id, two.comm.comm_id)")
    for name in ("LinkModel", "DirectionalLinkModel"):
        state = opened[name].content["data"]["state"]
        assert [state["source"], state["target"]] == [[f"IPY_MODEL_{id}", "value"] for id in ids]
    kernel.execute_ok("linked = ipywidgets.link((one, 'value'), (two, 'value'))")
    said = kernel.execute_ok("one.value = 7").iopub
    assert sorted(states(said)) == sorted([(ids[0], {"value": 7}), (ids[1], {"value": 7})])
    assert [m.type for m in kernel.execute_ok("linked.unlink(); both.unlink()").of("comm_close")] == [
        "comm_close"
    ]


def test_bytes_of_a_widget_travel_as_buffers(kernel):
    exchange = kernel.execute_ok("import ipywidgets\nimage = ipywidgets.Image(value=b'\\x89PNG')\nimage")
    model = models(exchange)["ImageModel"]
    (opened,) = [m for m in exchange.of("comm_open") if m.content["comm_id"] == model]
    assert (opened.content["data"]["buffer_paths"], opened.buffers) == ([["value"]], [b"\x89PNG"])
    update(kernel, model, {}, [["value"]], [b"of the page"])
    assert kernel.evaluate("bytes(image.value)") == b"of the page"
    asked = {"comm_id": model, "data": {"method": "request_state"}}
    (state,) = [m for m in told(kernel, kernel.send("shell", "comm_msg", asked)) if m.type == "comm_msg"]
    assert state.buffers == [b"of the page"] and state.content["data"]["buffer_paths"] == [["value"]]


def test_a_page_that_was_reloaded_gets_all_states(kernel):
    kernel.execute_ok("import ipywidgets\nkept = ipywidgets.IntSlider(value=42)")
    opening = {"comm_id": "control", "target_name": "jupyter.widget.control", "data": {}}
    told(kernel, kernel.send("shell", "comm_open", opening, metadata={"version": "1.0.0"}))
    asked = {"comm_id": "control", "data": {"method": "request_states"}}
    (all_states,) = [m for m in told(kernel, kernel.send("shell", "comm_msg", asked)) if m.type == "comm_msg"]
    model = kernel.evaluate("kept.comm.comm_id")
    assert all_states.content["data"]["method"] == "update_states"
    assert all_states.content["data"]["states"][model]["state"]["value"] == 42


def test_tqdm_like_code_draws_a_widget(kernel):
    code = "import ipywidgets\nbar = ipywidgets.IntProgress(max=3)\ndisplay(bar)\nfor i in range(3): bar.value += 1"
    exchange = kernel.execute_ok(code)
    (shown,) = exchange.of("display_data")
    assert "application/vnd.jupyter.widget-view+json" in shown.content["data"]
    values = [m.content["data"]["state"]["value"] for m in exchange.of("comm_msg")]
    assert values == [1, 2, 3]


def test_a_widget_that_is_closed_is_told_once(kernel):
    code = "import ipywidgets\nbrief = ipywidgets.IntSlider()\nid = brief.comm.comm_id\nbrief.close(); brief.close()"
    closed = kernel.execute_ok(code).of("comm_close")
    assert [m.content["comm_id"] for m in closed] == [kernel.evaluate("id")]
