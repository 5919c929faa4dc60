// Other programs: run to their end, or kept running until the test is over.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually, within } from './deadline.js';

// A test file that is stopped from outside still ends what it started.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const endings = [];
process.on('exit', (code) => { for (const ending of endings) ending(code); });

/** A new directory that is gone when this process ends. */
export function temporaryDirectory(name) {
  const path = mkdtempSync(join(tmpdir(), `cofferdam-${name}-`));
  endings.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A TCP port on the loopback address that nobody listens on right now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs a program to its end: `{code, stdout, stderr}`. Fails on another code than `expect`. */
export async function run(program, args, { expect = 0, input, ms = 30_000, ...options } = {}) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => { stdout += data; });
  child.stderr.on('data', (data) => { stderr += data; });
  child.stdin.on('error', () => {}); // it ended without reading
  child.stdin.end(input);
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  let code;
  try {
    code = await within(ended, `end of ${program} ${args.join(' ')}`, ms);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  if (expect !== null && code !== expect) {
    throw new Error(`${program} ${args.join(' ')} ended with ${code}\n${stdout}${stderr}`);
  }
  return { code, stdout, stderr };
}

/** The objects in what a program printed, one a line. */
export const jsonLines = (text) => text.split('\n').filter(Boolean).map((line) => JSON.parse(line));

/** A program that keeps running. What it prints is kept and shown if the test file fails. */
export class Daemon {
  #child;
  #ended;
  #log = '';
  #listeners = new Set();

  constructor(name, program, args, options = {}) {
    this.name = name;
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    const keep = (data) => {
      this.#log += data;
      for (const listener of this.#listeners) listener();
    };
    this.#child.stdout.on('data', keep);
    this.#child.stderr.on('data', keep);
    this.#child.stdin.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(error));
      this.#child.once('close', (code, signal) => resolve(code ?? signal));
    });
    this.#ended.then((code) => {
      this.code = code;
      for (const listener of this.#listeners) listener();
    });
    endings.unshift((code) => {
      this.#child.kill('SIGKILL'); // does nothing where it has ended
      if (code) console.error(`--- ${this.name} ---\n${this.#log.slice(-8_000)}`);
    });
  }

  get log() {
    return this.#log;
  }

  get pid() {
    return this.#child.pid;
  }

  /** Waits until `url` answers with success; fails at once if the program ends before that. */
  ready(url, ms = 30_000) {
    const answers = eventually(`success from ${url}`, async () => this.code !== undefined || (await fetch(url)).ok, ms);
    return answers.then(() => {
      if (this.code !== undefined) throw new Error(`${this.name} ended with ${this.code}\n${this.#log}`);
    });
  }

  /** Calls back for every whole line on its standard output. */
  onLine(callback) {
    createInterface({ input: this.#child.stdout }).on('line', callback);
  }

  /** Waits until what it printed matches, and gives the match. */
  printed(pattern, ms) {
    let listener;
    const match = new Promise((resolve, reject) => {
      listener = () => {
        const found = this.#log.match(pattern);
        if (found) resolve(found);
        else if (this.code !== undefined) reject(new Error(`${this.name} ended with ${this.code}\n${this.#log}`));
      };
      this.#listeners.add(listener);
      listener();
    });
    return within(match, `${pattern} from ${this.name}`, ms).finally(() => this.#listeners.delete(listener));
  }

  /** Asks it to stop and waits for its end: the exit code, or the signal that ended it. */
  async stop(signal = 'SIGINT', ms = 10_000) {
    this.#child.kill(signal);
    try {
      return await within(this.#ended, `end of ${this.name} after ${signal}`, ms);
    } catch (error) {
      this.#child.kill('SIGKILL');
      await this.#ended;
      throw error;
    }
  }
}
