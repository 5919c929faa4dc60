// Starts the broker under test: the binary that COFFERDAM_BIN names (or what cargo built), in a
// directory of its own, with its own configuration, ports and world.

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { eventually } from './deadline.js';
import { parseMetrics, sum } from './metrics.js';
import { Daemon, freePort, jsonLines, run, temporaryDirectory } from './process.js';
import { makeWorld, provisioning, TEAM_SUSPENDED } from './world.js';

export const ROOT = resolve(import.meta.dirname, '../../..');

/** The broker's binary, as an absolute path. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? 'target';
  const candidates = process.env.COFFERDAM_BIN
    ? [process.env.COFFERDAM_BIN]
    : ['release', 'debug'].map((profile) => join(target, profile, 'cofferdam'));
  const built = candidates.map((path) => resolve(ROOT, path)).filter(existsSync);
  const [found] = built.sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs); // the newest
  if (!found) throw new Error(`no broker at ${candidates.join(' or ')}: build it or set COFFERDAM_BIN`);
  return found;
}

/** Where the development certificate authority lies, below the broker's directory. */
export const DEV_CA = 'data/tls/ca.pem';

const TRANSPORTS = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' };

/**
 * A running broker with one listener for each transport, named like it.
 *
 * `limits`: lines for `[limits]`; `listener`: more lines for a listener, by transport;
 * `env`: more environment; `database`: a URL in place of the SQLite file.
 */
export async function startBroker(options = {}) {
  const broker = new Broker();
  await broker.start(options);
  return broker;
}

export class Broker {
  world = makeWorld();
  ports = {};
  directory = temporaryDirectory('broker');
  #daemon;
  #env;

  async start({ limits = {}, listener = {}, env = {}, database } = {}) {
    this.#env = { ...process.env, ...env };
    const lines = ['data_dir = "data"'];
    for (const transport of Object.keys(TRANSPORTS)) {
      this.ports[transport] = await freePort();
      lines.push('', '[[listener]]', `name = "${transport}"`, `transport = "${transport}"`);
      lines.push(`bind = "127.0.0.1:${this.ports[transport]}"`, ...(listener[transport] ?? []));
    }
    this.ports.admin = await freePort();
    lines.push('', '[admin]', `bind = "127.0.0.1:${this.ports.admin}"`);
    lines.push('', '[database]', `url = "${database ?? 'sqlite://data/cofferdam.db'}"`);
    lines.push('', '[journal]', 'durability = "memory"', '', '[limits]');
    for (const [key, value] of Object.entries(limits)) lines.push(`${key} = ${JSON.stringify(value)}`);
    writeFileSync(join(this.directory, 'cofferdam.toml'), `${lines.join('\n')}\n`);
    writeFileSync(join(this.directory, 'world.toml'), provisioning(this.world), { mode: 0o600 });

    await this.cofferdam('apply', 'world.toml');
    await this.cofferdam('team', 'suspend', TEAM_SUSPENDED);
    this.#daemon = new Daemon('cofferdam', binary(), ['serve', '--config', 'cofferdam.toml'], {
      cwd: this.directory, env: this.#env,
    });
    await this.#daemon.ready(this.admin('/readyz'));
  }

  /** The broker's process id. */
  get pid() {
    return this.#daemon.pid;
  }

  get log() {
    return this.#daemon.log;
  }

  /** The certificate authority that clients are to trust: the path of a PEM file. */
  get caFile() {
    return join(this.directory, DEV_CA);
  }

  get ca() {
    return readFileSync(this.caFile);
  }

  /** The address for one transport. `localhost`, because that is what the certificate names. */
  url(transport, path = '') {
    return `${TRANSPORTS[transport]}://localhost:${this.ports[transport]}${path}`;
  }

  admin(path) {
    return `http://127.0.0.1:${this.ports.admin}${path}`;
  }

  /** Runs a subcommand with this broker's configuration: `{code, stdout, stderr}`. */
  cofferdam(...args) {
    return run(binary(), [...args, '--config', 'cofferdam.toml'], { cwd: this.directory, env: this.#env });
  }

  /** The audit store's records, oldest first. */
  async audit(...filters) {
    const { stdout } = await this.cofferdam('audit', 'list', '--json', ...filters);
    return jsonLines(stdout);
  }

  /** Waits for a record that is `wanted`; records are written in batches, a moment later. */
  audited(what, wanted, ...filters) {
    return eventually(`audit record: ${what}`, async () => (await this.audit(...filters)).find(wanted));
  }

  /** The samples of /metrics, as `lib/metrics.js` reads them. */
  async metrics() {
    const response = await fetch(this.admin('/metrics'));
    if (!response.ok) throw new Error(`/metrics answers ${response.status}`);
    return parseMetrics(await response.text());
  }

  /** The sum of all samples of a metric that carry these labels. */
  async metric(name, labels = {}) {
    return sum(await this.metrics(), name, labels);
  }

  /** Drains and stops the broker; fails unless it ends by itself and well. */
  async stop() {
    const code = await this.#daemon.stop('SIGINT', 5_000);
    if (code !== 0) throw new Error(`the broker ended with ${code}\n${this.log}`);
    if (/panicked at/.test(this.log)) throw new Error(`the broker panicked\n${this.log}`);
  }
}
