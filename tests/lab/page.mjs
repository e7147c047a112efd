// A person at JupyterLab, in verbs.
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

export class Person {
  /** Opens the browser on the launcher of a server. */
  static async at(server, executable, profile) {
    const person = new Person();
    person.browser = await chromium.launchPersistentContext(profile, {
      executablePath: executable,
      headless: true,
      args: FLAGS,
      viewport: { width: 1100, height: 1300 },
    });
    person.page = person.browser.pages()[0] ?? (await person.browser.newPage());
    person.page.setDefaultTimeout(60_000);
    person.errors = [];
    person.page.on("pageerror", (error) => person.errors.push(String(error)));
    await person.page.goto(`${server.url}/lab?token=${server.token}`);
    await person.page.waitForSelector(".jp-Launcher");
    return person;
  }

  /** Opens a launcher if there is none, clicks its notebook card with this name and waits for a kernel that is ready. */
  async openNotebook(displayName) {
    const card = this.page.locator(`.jp-LauncherCard[data-category="Notebook"][title="${displayName}"]:visible`);
    if ((await card.count()) === 0) await this.page.evaluate(() => window.jupyterapp.commands.execute("launcher:create").then(() => null));
    await card.click();
    await this.#notebook.locator(".jp-Cell .cm-content").waitFor();
    await this.idle();
    await this.page.evaluate(() => window.jupyterapp.shell.collapseLeft());
  }

  /** The names on the launcher's notebook cards. */
  async cards() {
    const cards = this.page.locator('.jp-LauncherCard[data-category="Notebook"]');
    return cards.evaluateAll((nodes) => nodes.map((node) => node.title));
  }

  /** Types a cell, runs it and waits for its end; the text of everything below it. */
  async run(source) {
    const cell = await this.start(source);
    await cell.ended();
    return cell.text();
  }

  /** Types a cell into the last one of the notebook and runs it. */
  async start(source) {
    // By its place: Shift+Enter adds another one behind it.
    const cells = this.#notebook.locator(".jp-CodeCell");
    const cell = new Cell(this, cells.nth((await cells.count()) - 1));
    await cell.place.locator(".cm-content").click();
    await this.page.keyboard.insertText(source);
    await this.page.keyboard.press("Shift+Enter");
    return cell;
  }

  /** Clicks "Interrupt the kernel" in the toolbar. */
  async interrupt() {
    await this.#toolbar("interrupt").click();
  }

  /** Clicks "Restart the kernel" in the toolbar, confirms, and waits for the fresh kernel. */
  async restart() {
    await this.page.evaluate(() => {
      const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
      window.restarted = new Promise((resolve) => {
        kernel.statusChanged.connect((_, status) => status.endsWith("restarting") && resolve(true));
      });
    });
    await this.#toolbar("restart").click();
    await this.page.locator(".jp-Dialog .jp-mod-accept").click();
    await this.page.evaluate(() => window.restarted);
    await this.idle();
  }

  /** Presses the bug in the notebook's toolbar; the debugger's sidebar opens. */
  async toggleDebugger(on) {
    const bug = this.page.locator(".jp-NotebookPanel-toolbar .jp-DebuggerBugButton");
    await bug.click();
    await this.page.locator(`.jp-NotebookPanel-toolbar .jp-DebuggerBugButton[aria-pressed="${on}"]`).waitFor();
  }

  /** Types a cell, clicks a breakpoint beside one of its lines, starts it and waits until it stands there. */
  async runTo(line, source) {
    const cells = this.page.locator(".jp-Notebook .jp-CodeCell");
    const cell = cells.nth((await cells.count()) - 1);
    await cell.locator(".cm-content").click();
    await this.page.keyboard.insertText(source);
    // The first element of a gutter is its spacer.
    await cell.locator(".cm-breakpoint-gutter .cm-gutterElement").nth(line).click();
    await this.page.locator(".jp-DebuggerBreakpoints-body .jp-DebuggerBreakpoint").waitFor();
    await cell.locator(".cm-content").click();
    await this.page.keyboard.press("Shift+Enter");
    await this.page.locator(".jp-DebuggerCallstack-body li").first().waitFor();
    return cell;
  }

  /** The lines of the call stack, and the variables, as the sidebar shows them. */
  async debuggerSidebar() {
    await this.page.locator(".jp-DebuggerVariables-body").getByText("20").first().waitFor();
    const text = (selector) => this.page.locator(selector).first().innerText();
    return { callstack: await text(".jp-DebuggerCallstack-body"), variables: await text(".jp-DebuggerVariables-body") };
  }

  /** Lets a cell that stands go on, and waits for its end; the text below it. */
  async goOn(cell) {
    await this.page.getByTitle(/^Continue/).first().click();
    await cell.locator(".jp-InputPrompt").filter({ hasText: /\[\d+\]/ }).waitFor();
    await this.idle();
    return cell.locator(".jp-OutputArea").innerText();
  }

  /** Switches between "JupyterLab Light" and "JupyterLab Dark". */
  async theme(name) {
    await this.page.evaluate((theme) => window.jupyterapp.commands.execute("apputils:change-theme", { theme }), name);
    await this.page.waitForFunction((theme) => document.body.dataset.jpThemeName === theme, name);
    await this.page.waitForSelector("#jupyterlab-splash", { state: "detached" });
  }

  /** The window as it is, the notebook scrolled to its top. */
  async picture(path) {
    await this.page.evaluate(() => {
      for (const panel of document.querySelectorAll(".jp-WindowedPanel-outer")) panel.scrollTo(0, 0);
    });
    await this.page.screenshot({ path });
  }

  async leave() {
    await this.browser.close();
  }

  /** Until the kernel is connected and idle, as JupyterLab itself knows it (its icon says "idle" too early). */
  async idle() {
    await this.page.waitForFunction(() => {
      const context = window.jupyterapp.shell.currentWidget?.sessionContext;
      const kernel = context?.session?.kernel;
      return context?.isReady && kernel?.connectionStatus === "connected" && kernel.status === "idle";
    });
  }

  get #notebook() {
    return this.page.locator(".jp-NotebookPanel:visible .jp-Notebook");
  }

  #toolbar(name) {
    return this.page.locator(`.jp-NotebookPanel:visible .jp-Toolbar [data-jp-item-name="${name}"] jp-button`);
  }
}

/** A cell of the notebook on the page, and what stands below it. */
class Cell {
  constructor(person, place) {
    this.person = person;
    this.place = place;
    this.output = place.locator(".jp-OutputArea").first();
  }

  /** Waits for the end: the prompt is [*] while the cell runs and a number after it. */
  async ended() {
    await this.place.locator(".jp-InputPrompt").filter({ hasText: /\[\d+\]/ }).waitFor();
    await this.person.idle();
    await this.place.scrollIntoViewIfNeeded();
  }

  /** The text of everything below it; what is folded is read as well, and left as it was. */
  async text() {
    return this.output.evaluate((area) => {
      const folded = [...area.querySelectorAll("details:not([open])")];
      for (const details of folded) details.open = true;
      const text = area.innerText;
      for (const details of folded) details.open = false;
      return text;
    });
  }

  /** Waits until this text is below it. */
  async shows(text) {
    await this.output.getByText(text).first().waitFor();
  }

  /** Waits until something that matches the selector is below it and can be seen. */
  async has(selector) {
    const found = this.output.locator(selector).first();
    await found.waitFor();
    return found;
  }

  /** Types an answer to the cell's question. */
  async answer(text) {
    const box = await this.has("input.jp-Stdin-input");
    await box.fill(text);
    await box.press("Enter");
  }

  /** What stands below it, as a picture. */
  async picture(path) {
    await this.place.scrollIntoViewIfNeeded();
    await this.place.screenshot({ path });
  }
}
