// Starts a JupyterLab of its own (free port, token, empty folders) and makes sure that it is gone afterwards.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join, resolve as absolute } from "node:path";

/** A port that is free now; the server is told not to try others, so a lost race is an error and not a surprise. */
async function freePort() {
  const probe = createServer();
  await new Promise((resolve, reject) => probe.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Server {
  #process;
  #exited;
  #refused;
  #log;

  /** Starts `jupyter lab` of the given Python in `folder` and waits until it answers. */
  static async start(python, folder) {
    const server = new Server();
    server.token = randomBytes(16).toString("hex");
    const port = await freePort();
    server.url = `http://127.0.0.1:${port}`;
    const notebooks = join(folder, "notebooks");
    await mkdir(notebooks, { recursive: true });
    await quietSettings(join(folder, "settings"));
    server.#log = join(folder, "server.log");
    const output = openSync(server.#log, "w");
    server.#process = spawn(
      absolute(python),
      [
        "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1", `--ServerApp.port=${port}`, "--ServerApp.port_retries=0",
        `--IdentityProvider.token=${server.token}`, `--ServerApp.root_dir=${notebooks}`,
        // Should this process be killed outright, the server ends by itself.
        "--ServerApp.shutdown_no_activity_timeout=300", "--MappingKernelManager.cull_idle_timeout=120",
        "--MappingKernelManager.cull_interval=30", "--MappingKernelManager.cull_connected=True",
      ],
      {
        cwd: notebooks,
        // Its own process group, so that whatever it started can be ended with it.
        detached: true,
        stdio: ["ignore", output, output],
        env: { ...process.env, JUPYTERLAB_SETTINGS_DIR: join(folder, "settings") },
      },
    );
    closeSync(output);
    server.#process.once("error", (error) => (server.#refused = error));
    server.#exited = new Promise((resolve) => server.#process.once("exit", resolve).once("error", resolve));
    process.once("exit", () => server.#kill());
    await server.#untilReady(60_000);
    return server;
  }

  /** Asks the server's REST interface. */
  async api(path, options = {}) {
    const headers = { Authorization: `token ${this.token}` };
    const answer = await fetch(`${this.url}/api/${path}`, { ...options, headers });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  }

  async log() {
    return readFile(this.#log, "utf8").catch(() => "");
  }

  /** Ends the kernels, then the server; kills what does not end by itself. */
  async stop() {
    try {
      for (const kernel of await this.api("kernels")) await this.api(`kernels/${kernel.id}`, { method: "DELETE" });
    } catch (error) {
      console.error(`kernels could not be ended politely: ${error.message}`);
    }
    if (this.#process.exitCode === null) this.#process.kill("SIGTERM");
    await Promise.race([this.#exited, sleep(15_000)]);
    this.#kill();
  }

  #kill() {
    if (this.#process?.pid === undefined) return;
    try {
      process.kill(-this.#process.pid, "SIGKILL");
    } catch (error) {
      if (error.code !== "ESRCH") throw error; // the whole group is gone already
    }
  }

  async #untilReady(milliseconds) {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      if (this.#refused) throw this.#refused;
      if (this.#process.exitCode !== null) throw new Error(`JupyterLab ended at once:\n${await this.log()}`);
      try {
        await this.api("status");
        return;
      } catch (error) {
        if (Date.now() > deadline) throw new Error(`JupyterLab did not answer: ${error.message}\n${await this.log()}`);
      }
      await sleep(100);
    }
  }
}

/** No question about news and no search for updates: both would cover the page. */
async function quietSettings(folder) {
  const file = join(folder, "@jupyterlab/apputils-extension/notification.jupyterlab-settings");
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify({ fetchNews: "false", checkForUpdates: false }));
}
