// A notebook in JupyterLab with the installed kernel: what a person sees after each cell, and pictures of it.
//
//   node tests/lab/lab.mjs --python .venv/bin/python --chromium /usr/bin/chromium --out target/lab
//        [--display-name "Rust-Hygiene Python"] [--no-badge]
//
// With --no-badge only what any Python kernel does is checked, for example with "Python 3 (ipykernel)".
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { Person } from "./page.mjs";
import { Server } from "./server.mjs";
import { useWidgets } from "./widgets.mjs";

/** Longer than any run takes; a hang is a failure. */
const DEADLINE_MS = 300_000;

/** What is run, what any kernel shows (`shows`), and what our badge adds (`badge`). 39,321,600 doubles are 300 MiB. */
const CELLS = [
  {
    name: "print",
    source: 'print("Good morning")',
    shows: [/Good morning/],
    badge: [],
  },
  {
    name: "import",
    source: "import numpy as np",
    shows: [],
    badge: [/RAM/],
  },
  {
    name: "300 MiB in an array",
    source: "data = np.ones(39_321_600)",
    shows: [],
    badge: [/\+30\d(\.\d)?\sMiB/, /\bdata\b/],
  },
  {
    name: "an echo that Out keeps",
    source: "np.full(39_321_600, 2.0)",
    shows: [/array\(\[2\., 2\., 2\./],
    badge: [/\+30\d(\.\d)?\sMiB/, /\bOut\b/],
  },
  {
    name: "an exception that keeps an array alive",
    source: 'def load():\n    rows = np.ones(39_321_600)\n    raise ValueError("no such column")\nload()',
    shows: [/ValueError: no such column/],
    badge: [/\+30\d(\.\d)?\sMiB/, /traceback|exception/i],
  },
];

/** A cell for the debugger, and the line that it is to stand on. */
const STOP = { source: "def f(a, b):\n    total = a + b\n    return total\nprint(f(20, 22))", line: 2 };

const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    out: { type: "string" },
    "display-name": { type: "string", default: "Rust-Hygiene Python" },
    "no-badge": { type: "boolean", default: false },
  },
});
if (!options.python || !options.out) {
  console.error("lab.mjs needs --python and --out");
  process.exit(2);
}

/** Runs the notebook and returns what was wrong, as sentences. */
async function visit(person, displayName, badge) {
  const problems = [];
  const expect = (condition, problem) => condition || problems.push(problem);
  const cards = await person.cards();
  if (!cards.includes(displayName)) return [`the launcher has no card ${displayName}, only ${cards.join(", ")}`];
  await person.openNotebook(displayName);
  for (const cell of CELLS) {
    const start = Date.now();
    const text = await person.run(cell.source);
    console.log(`${cell.name}: ${Date.now() - start} ms`);
    for (const pattern of [...cell.shows, ...(badge ? cell.badge : [])]) {
      expect(pattern.test(text), `${cell.name}: ${pattern} is not on the page, which says:\n${text}`);
    }
  }
  for (const theme of ["Light", "Dark"]) {
    await person.theme(`JupyterLab ${theme}`);
    await person.picture(join(options.out, `${theme.toLowerCase()}.png`));
  }
  await person.toggleDebugger(true);
  const standing = await person.runTo(STOP.line, STOP.source);
  const sidebar = await person.debuggerSidebar();
  await person.picture(join(options.out, "debugger.png"));
  expect(/\bf\b/.test(sidebar.callstack), `the call stack says: ${sidebar.callstack}`);
  expect(/a\s+20\s+b\s+22/.test(sidebar.variables), `the variables are: ${sidebar.variables}`);
  const printed = await person.goOn(standing);
  expect(/^42$/m.test(printed), `the cell that stood shows: ${printed}`);
  await person.toggleDebugger(false);
  const pictures = join(options.out, "widgets");
  await mkdir(pictures);
  problems.push(...(await useWidgets(person, displayName, pictures)));
  expect(person.errors.length === 0, `the page reports errors: ${person.errors.join("; ")}`);
  return problems;
}

const folder = await mkdtemp(join(tmpdir(), "lab-test-"));
let server;
let person;

async function tidy() {
  await person?.leave().catch((error) => console.error(`the browser did not close: ${error.message}`));
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
}

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => tidy().finally(() => process.exit(1)));
const watchdog = setTimeout(() => {
  console.error(`not finished after ${DEADLINE_MS / 1000} s`);
  tidy().finally(() => process.exit(1));
}, DEADLINE_MS);

let problems;
try {
  await mkdir(options.out, { recursive: true });
  server = await Server.start(options.python, folder);
  person = await Person.at(server, options.chromium, join(folder, "profile"));
  problems = await visit(person, options["display-name"], !options["no-badge"]);
} catch (error) {
  problems = [error.stack, `server's log:\n${(await server?.log())?.slice(-4000)}`];
  await person?.picture(join(options.out, "failure.png")).catch(() => {});
} finally {
  clearTimeout(watchdog);
  await tidy();
}
for (const problem of problems) console.error(`\nFAILED: ${problem}`);
console.log(problems.length === 0 ? `ok; pictures in ${options.out}` : `${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
