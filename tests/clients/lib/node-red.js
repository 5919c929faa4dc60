// A real Node-RED runtime with the project-link nodes, as the platform's launcher would start it.
//
// Its flow is the same everywhere: what is posted to it over HTTP goes out through a link node, and
// what a link node hears is told on standard output, in order, one line each.

import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { Inbox, eventually } from './deadline.js';
import { Daemon, freePort, temporaryDirectory } from './process.js';

const RED = join(import.meta.dirname, '../node_modules/node-red/red.js');

/** Starts the lines that the flow prints for us, among Node-RED's own log. */
const MARK = '@told ';

/** The one question that link nodes ask the platform: which instances does this team have? */
export async function startForge(instances) {
  const server = createServer((request, response) => {
    const team = request.url.match(/^\/api\/v1\/teams\/([^/]+)\/projects$/)?.[1];
    const projects = instances.filter((instance) => instance.team === team).map(({ id }) => ({ id, name: id }));
    response.writeHead(team ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ count: projects.length, projects }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

/**
 * Starts a runtime and waits until its link nodes are connected and subscribed.
 *
 * `as`: the instance whose credential it has; `claims`: the instance whose ids stand in its settings;
 * `target`: the instance that its direct messages and calls go to; `ha`: a replica's number, for a
 * runtime that shares its instance with others; `clientId`: in place of the nodes' own choice;
 * `inbox`: one that is shared with other runtimes.
 */
export async function startRuntime(options) {
  const runtime = new Runtime();
  await runtime.start(options);
  return runtime;
}

class Runtime {
  /** What its link nodes heard and what its nodes failed with: `{at, kind, payload, from}`. */
  inbox;
  #directory = temporaryDirectory('node-red');
  #port;
  #daemon;

  async start({ name, broker, forge, as, claims = as, target, ha, clientId, inbox = new Inbox() }) {
    this.name = name;
    this.inbox = inbox;
    this.#port = await freePort();
    const settings = {
      uiHost: '127.0.0.1', uiPort: this.#port, flowFile: 'flows.json', userDir: this.#directory,
      credentialSecret: false, disableEditor: true, telemetry: { enabled: false, updateNotification: false },
      externalModules: { palette: { allowInstall: false } },
      flowforge: {
        forgeURL: forge.url, teamID: claims.team, projectID: claims.id,
        projectLink: {
          featureEnabled: true, token: 'unused', useSharedSubscriptions: ha !== undefined,
          broker: {
            url: broker.url('wss'), username: as.username, password: as.password,
            clientId: clientId ?? (ha === undefined ? undefined : `${as.username}:n:000${ha}`),
          },
        },
      },
    };
    writeFileSync(join(this.#directory, 'flows.json'), JSON.stringify(flow(claims, target)));
    writeFileSync(join(this.#directory, 'settings.js'), `module.exports = ${JSON.stringify(settings)};
module.exports.functionGlobalContext = {
  tell: (what) => process.stdout.write('\\n${MARK}' + JSON.stringify(what) + '\\n'),
};\n`);
    this.#daemon = new Daemon(`node-red ${name}`, process.execPath, [RED, '--settings', join(this.#directory, 'settings.js')], {
      cwd: this.#directory,
      env: { ...process.env, NODE_EXTRA_CA_CERTS: broker.caFile, NO_UPDATE_NOTIFIER: '1' },
    });
    this.#daemon.onLine((line) => {
      if (line.startsWith(MARK)) this.inbox.put({ at: name, ...JSON.parse(line.slice(MARK.length)) });
    });
    await this.#daemon.printed(/Project Link nodes connected/, 60_000);
    await eventually(`${name} listening`, () => fetch(`http://127.0.0.1:${this.#port}/`));
  }

  /** Posts to the flow: `direct`, `broadcast`, `call` or `self`. Gives what the flow answers. */
  async post(what, payload) {
    const response = await fetch(`http://127.0.0.1:${this.#port}/${what}`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ payload }),
      signal: AbortSignal.timeout(20_000),
    });
    if (!response.ok) throw new Error(`${this.name}: ${what} answers ${response.status}`);
    return response.json();
  }

  /** The next thing of this kind: `direct`, `broadcast`, `self` or `error`. */
  heard(kind, payload) {
    return this.inbox.take(`${kind} ${payload ?? ''} at ${this.name}`, (told) => told.kind === kind && (payload === undefined || told.payload === payload));
  }

  get log() {
    return this.#daemon.log;
  }

  async stop() {
    await this.#daemon.stop('SIGTERM');
  }
}

/** The flow of an instance, as Node-RED's `flows.json` has it. */
function flow(own, target) {
  // A node with a place on the tab is part of the flow; without one it would be a configuration node.
  const nodes = [{ id: 'tab', type: 'tab', label: 'links' }];
  const add = (id, type, fields, ...next) => nodes.push({ id, type, z: 'tab', x: 0, y: 0, wires: [next], ...fields });
  const script = (id, func, ...next) => add(id, 'function', { func, outputs: 1, libs: [] }, ...next);

  // What is heard is told.
  const listen = (kind, topic, fields) => {
    add(`${kind}-in`, 'project link in', { topic, ...fields }, `${kind}-told`);
    script(`${kind}-told`, `global.get('tell')({ kind: '${kind}', payload: msg.payload, from: msg.projectLink.instanceId });`);
  };
  listen('direct', 'inbox', { project: own.id, broadcast: false });
  listen('broadcast', 'news', { project: 'all', broadcast: true });
  // Whoever calls is answered in capitals.
  add('called-in', 'project link in', { topic: 'shout', project: own.id, broadcast: false }, 'called');
  script('called', "msg.payload = msg.payload.toUpperCase(); return msg;", 'called-out');
  add('called-out', 'project link out', { mode: 'return', broadcast: false });
  // The last to subscribe: a message to itself that comes back shows that all the others have.
  listen('self', 'self', { project: own.id, broadcast: false });

  // What is posted is sent, and the post answered once it is on its way.
  const send = (kind, fields) => {
    add(`${kind}-post`, 'http in', { url: `/${kind}`, method: 'post' }, `${kind}-plain`, `${kind}-ok`);
    script(`${kind}-plain`, 'return { payload: msg.payload.payload };', `${kind}-out`);
    add(`${kind}-out`, 'project link out', { mode: 'link', ...fields });
    script(`${kind}-ok`, 'msg.payload = {}; return msg;', 'answer');
  };
  send('direct', { topic: 'inbox', project: target.id, broadcast: false });
  send('broadcast', { topic: 'news', project: 'all', broadcast: true });
  send('self', { topic: 'self', project: own.id, broadcast: false });
  add('call-post', 'http in', { url: '/call', method: 'post' }, 'call-plain');
  script('call-plain', 'msg.payload = msg.payload.payload; return msg;', 'call');
  add('call', 'project link call', { topic: 'shout', project: target.id, timeout: '10' }, 'call-answer');
  script('call-answer', 'msg.payload = { answer: msg.payload }; return msg;', 'answer');
  add('answer', 'http response', { statusCode: '200', headers: {} });

  add('catch', 'catch', { scope: null, uncaught: false }, 'caught');
  script('caught', "global.get('tell')({ kind: 'error', payload: msg.error.message, from: msg.error.source.id });");
  return nodes;
}
