// A notebook of widgets: what a person moves, clicks and types is seen by Python, and the page follows Python.
import { join } from "node:path";

/** `told` is where Python writes what it saw of the page; its text is looked for below the cell. */
const PREPARE = `import ipywidgets as widgets
def teller():
    told = widgets.Label("nothing yet")
    display(told)
    return lambda text: setattr(told, "value", str(text))`;

/** Each is a cell and what the person does with it. All of it must come to pass, in this order. */
export const STEPS = [
  {
    name: "slider",
    source: `tell = teller()
slider = widgets.IntSlider(value=3, max=10, description="amount")
bar = widgets.IntProgress(max=10)
widgets.jslink((slider, "value"), (bar, "value"))
slider.observe(lambda change: tell(f"Python saw {change.new}"), "value")
display(slider, bar)`,
    async does(cell, person) {
      await (await cell.has(".noUi-handle")).focus();
      for (let i = 0; i < 4; i++) await person.page.keyboard.press("ArrowRight");
      await cell.shows("Python saw 7");
      // The bar is linked to it by the page alone.
      await cell.has('.progress-bar[style*="width: 70%"]');
    },
  },
  { name: "value of the slider", source: `print("it is", slider.value)`, shows: /it is 7/ },
  {
    name: "set by Python",
    source: `slider.value = 2`,
    async does(cell, person) {
      await person.page.locator(".widget-readout").filter({ hasText: /^2$/ }).waitFor();
    },
  },
  {
    name: "Output widget",
    source: `button, out = widgets.Button(description="Press me"), widgets.Output(layout={"border": "1px solid"})
presses = []
@button.on_click
def pressed(_):
    presses.append(1)
    with out:
        print("pressed", len(presses))
        if len(presses) == 3: raise ValueError("too often")
display(button, out)`,
    async does(cell) {
      const button = await cell.has("button");
      for (const number of [1, 2, 3]) {
        await button.click();
        await cell.has(`.widget-output :text("pressed ${number}")`);
      }
      await cell.has('.widget-output :text("ValueError")');
    },
  },
  {
    name: "interact",
    source: `@widgets.interact(word=["one", "two"])
def show(word):
    print("chosen:", word)
    return word.upper()`,
    async does(cell) {
      await cell.shows("chosen: one");
      await (await cell.has("select")).selectOption("two");
      await cell.shows("chosen: two");
      await cell.shows("'TWO'");
    },
  },
  {
    name: "plotly FigureWidget",
    source: `import plotly.graph_objects as go
tell = teller()
figure = go.FigureWidget(go.Scatter(y=[1, 3, 2], mode="markers", marker_size=20), layout_height=250)
figure.data[0].on_click(lambda trace, points, state: tell(f"point {points.point_inds}"))
figure`,
    async does(cell, person) {
      const point = cell.output.locator(".scatterlayer .point >> nth=1");
      // plotly catches the mouse above its points, hence force.
      await until(() => point.hover({ force: true }), cell.output.locator(".hoverlayer .hovertext"));
      await person.page.mouse.down();
      await person.page.mouse.up();
      await cell.shows("point [1]");
    },
  },
  {
    name: "plotly follows Python",
    source: `figure.data[0].y = [5, 1, 4, 2, 3]`,
    async does(cell, person) {
      await person.page.locator(".scatterlayer .point >> nth=4").waitFor();
    },
  },
  {
    name: "ipympl",
    source: `%matplotlib widget
import matplotlib.pyplot as plt
tell = teller()
fig, ax = plt.subplots(figsize=(5, 2.5))
ax.plot([1, 3, 2], linewidth=5)
_ = fig.canvas.mpl_connect("button_press_event", lambda event: tell(f"pressed in the axes: {event.inaxes is ax}"))
plt.show()`,
    async does(cell, person) {
      const canvas = await cell.has(".jupyter-matplotlib-canvas-div canvas");
      await person.page.waitForFunction(isDrawn, await canvas.elementHandle());
      // Another canvas, for the rubber band, lies above it, hence force.
      await until(() => canvas.click({ force: true }), cell.output.getByText("pressed in the axes: True"));
    },
  },
  {
    name: "anywidget",
    source: `import anywidget, traitlets
tell = teller()
class Counter(anywidget.AnyWidget):
    _esm = """export default { render({ model, el }) {
      const button = document.createElement("button");
      const draw = () => { button.textContent = "count " + model.get("value"); };
      button.onclick = () => { model.set("value", model.get("value") + 1); model.save_changes(); };
      model.on("change:value", draw);
      model.on("msg:custom", (message, buffers) => { button.title = message.text + " " + buffers[0].byteLength; });
      draw();
      el.append(button);
    } };"""
    value = traitlets.Int(40).tag(sync=True)
counter = Counter()
counter.observe(lambda change: tell(f"Python has {change.new}"), "value")
counter`,
    async does(cell) {
      const button = await cell.has('button:text("count")');
      await button.click();
      await button.click();
      await cell.shows("Python has 42");
      await cell.has('button:text("count 42")');
    },
  },
  {
    name: "a message with bytes",
    source: `counter.send({"text": "bytes:"}, buffers=[bytes(123)])`,
    async does(cell, person) {
      await person.page.locator('button[title="bytes: 123"]').waitFor();
    },
  },
  {
    name: "bokeh",
    source: `from bokeh.io import output_notebook, push_notebook
from bokeh.plotting import figure as bokeh_figure, show as bokeh_show
from bokeh.resources import INLINE
output_notebook(INLINE, hide_banner=True)
plot = bokeh_figure(height=200, width=400, title="bokeh")
line = plot.line([1, 2, 3], [1, 3, 2], line_width=3)
handle = bokeh_show(plot, notebook_handle=True)`,
    async does(cell) {
      await cell.has(".bk-Figure canvas");
    },
  },
  {
    name: "bokeh follows Python",
    source: `plot.title.text = "pushed"
push_notebook(handle=handle)`,
    async does(cell, person) {
      await person.page.waitForFunction(() =>
        window.Bokeh?.documents.some((document) =>
          document.roots().some((root) => root.title?.text === "pushed"),
        ),
      );
    },
  },
  {
    name: "tqdm",
    source: `from tqdm.auto import tqdm
for step in tqdm(range(20), desc="steps"):
    pass`,
    async does(cell) {
      await cell.shows("20/20");
      await cell.has(".progress-bar.progress-bar-success");
    },
  },
  {
    name: "input",
    source: `print("Hello", input("Who? "))`,
    async during(cell) {
      await cell.answer("Ada");
    },
    shows: /Hello Ada/,
  },
  {
    name: "interrupt",
    source: `print("on it", flush=True)
while True: pass`,
    async during(cell, person) {
      await cell.shows("on it");
      await person.interrupt();
    },
    shows: /KeyboardInterrupt/,
  },
  { name: "after the interrupt", source: `print("it is still", counter.value)`, shows: /it is still 42/ },
];

/** Does something again until it has worked: what the page still lays out may move away under the mouse. */
async function until(act, sign) {
  for (let tries = 1; ; tries++) {
    await act();
    try {
      return await sign.waitFor({ timeout: 2_000 });
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

/** True once something is drawn on the canvas. */
function isDrawn(canvas) {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const first = new Uint32Array(pixels.buffer);
  return first.some((pixel) => pixel !== first[0]);
}

/** Goes through the notebook; returns what was wrong, as sentences. */
export async function useWidgets(person, displayName, folder) {
  await person.openNotebook(displayName);
  await person.run(PREPARE);
  const problems = [];
  for (const [index, step] of STEPS.entries()) {
    const start = Date.now();
    const cell = await person.start(step.source);
    try {
      await step.during?.(cell, person);
      await cell.ended();
      await step.does?.(cell, person);
    } catch (error) {
      error.message = `${step.name}: ${error.message}\nbelow the cell:\n${await cell.text().catch(() => "?")}`;
      throw error;
    }
    const text = await cell.text();
    if (step.shows && !step.shows.test(text)) problems.push(`${step.name}: ${step.shows} is not in\n${text}`);
    await cell.picture(join(folder, `${String(index + 1).padStart(2, "0")}-${step.name.replaceAll(" ", "-")}.png`));
    console.log(`${step.name}: ${Date.now() - start} ms`);
  }
  await person.restart();
  const text = await person.run("slider");
  if (!/NameError/.test(text)) problems.push(`after the restart the slider is known:\n${text}`);
  console.log("restart: ok");
  return problems;
}
