// docker-compose.yml, checked as a file and started as plain processes: there need be no container
// engine where this runs. The broker gets the environment, the health check and the secrets that the
// file gives it; Prometheus its command and configuration, with other addresses.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import yaml from 'js-yaml';
import mqtt from 'mqtt';
import { ROOT, binary } from './lib/broker.js';
import { eventually } from './lib/deadline.js';
import { exchange, expectedExchange } from './lib/exchange.js';
import { Daemon, freePort, jsonLines, run, temporaryDirectory } from './lib/process.js';

const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const compose = yaml.load(read('docker-compose.yml'));
const dashboards = readdirSync(join(ROOT, 'config/grafana/dashboards')).map((name) => JSON.parse(read(`config/grafana/dashboards/${name}`)));
const directory = temporaryDirectory('deployment');
const secrets = join(directory, 'secrets');
before(() => run(join(ROOT, 'scripts/make-secrets.sh'), [secrets]));

/** The variables in one of the files that make-secrets.sh made. */
const variables = (name) => Object.fromEntries(readFileSync(join(secrets, name), 'utf8').trim().split('\n').map((line) => {
  const equals = line.indexOf('=');
  return [line.slice(0, equals), line.slice(equals + 1)];
}));

/** What docker compose makes of the docker-compose.yml in a directory. */
const composed = async (cwd, variables = {}) => {
  const plugin = await run('docker', ['compose', 'version'], { expect: null }).then(({ code }) => code === 0, () => false);
  const [program, first] = plugin ? ['docker', ['compose']] : ['docker-compose', []];
  const { stdout } = await run(program, [...first, 'config'], { cwd, env: { ...process.env, ...variables } });
  return yaml.load(stdout);
};

describe('the files', () => {
  test('docker compose accepts docker-compose.yml', async () => {
    cpSync(join(ROOT, 'docker-compose.yml'), join(directory, 'docker-compose.yml'));
    const { services } = await composed(directory);
    assert.deepEqual(Object.keys(services).sort(), ['broker', 'database', 'grafana', 'prometheus']);
  });

  test('docker compose accepts the service that takes the broker\'s place at FlowFuse', async () => {
    const { services: { broker } } = await composed(join(ROOT, 'config/flowfuse'), { DOMAIN: 'example.com' });
    assert.equal(broker.environment.VIRTUAL_HOST, 'broker.example.com,mqtt.example.com');
    assert.deepEqual(broker.healthcheck.test, compose.services.broker.healthcheck.test);
    const { stdout } = await run(binary(), ['config', 'check', '--config', join(ROOT, 'config/flowfuse/cofferdam.toml')]);
    for (const bind of ['0.0.0.0:1883', `0.0.0.0:${broker.environment.VIRTUAL_PORT}`, '0.0.0.0:9080']) assert.ok(stdout.includes(bind), bind);
  });

  test('the page that says how to replace a broker shows the configuration that is there', () => {
    const page = read('docs/replacing-emqx-or-mosquitto.md');
    const blocks = [...page.matchAll(/```toml\n([^]*?)```/g)].map(([, block]) => block.trim().split('\n'));
    const config = read('config/flowfuse/cofferdam.toml').split('\n').map((line) => line.replace(/^# /, ''));
    assert.equal(blocks.length, 2);
    for (const line of blocks.flat()) assert.ok(config.includes(line), line);
    for (const [, path] of page.matchAll(/\]\(([^)#]+)\)/g)) assert.ok(existsSync(join(ROOT, 'docs', path)), path);
  });

  test('every service has a health check, restarts, and a fixed version', () => {
    for (const [name, service] of Object.entries(compose.services)) {
      assert.ok(service.healthcheck?.test?.length > 1, `${name} has no health check`);
      assert.equal(service.restart, 'unless-stopped', name);
      assert.match(service.image, /:(?!latest$).+/, name);
    }
  });

  test('no password stands in the file, and only TLS is published beyond this machine', () => {
    for (const [name, service] of Object.entries(compose.services)) {
      for (const key of Object.keys(service.environment ?? {})) {
        assert.doesNotMatch(key, /PASSWORD|SECRET|TOKEN|DATABASE__URL/, `${name} sets ${key} in the file`);
      }
    }
    assert.doesNotMatch(read('docker-compose.yml'), /:\/\/[^\s/]*:[^\s/]*@/);
    const published = Object.entries(compose.services).flatMap(([name, { ports = [] }]) => ports.map((port) => `${name} ${port}`));
    assert.deepEqual(published, ['broker 8883:8883', 'broker 8443:8443', 'grafana 127.0.0.1:3000:3000']);
  });

  test('make-secrets.sh makes passwords that agree, for their owner alone, and never again', async () => {
    const files = ['broker.env', 'database.env', 'grafana.env'];
    assert.deepEqual(readdirSync(secrets).sort(), files);
    for (const name of files) assert.equal(statSync(join(secrets, name)).mode & 0o777, 0o600, name);
    const password = variables('database.env').POSTGRES_PASSWORD;
    assert.match(password, /^[0-9a-f]{64}$/);
    assert.equal(variables('broker.env').COFFERDAM__DATABASE__URL, `postgres://cofferdam:${password}@database/cofferdam`);
    assert.notEqual(variables('grafana.env').GF_SECURITY_ADMIN_PASSWORD, password);
    const once = files.map((name) => readFileSync(join(secrets, name), 'utf8'));
    await run(join(ROOT, 'scripts/make-secrets.sh'), [secrets]);
    assert.deepEqual(files.map((name) => readFileSync(join(secrets, name), 'utf8')), once);
    assert.match(read('.gitignore'), /^\/secrets$/m);
  });

  test('every mounted path is there', () => {
    const mounts = Object.values(compose.services).flatMap(({ volumes }) => volumes).map((volume) => volume.split(':')[0]);
    const paths = mounts.filter((source) => source.startsWith('.'));
    assert.ok(paths.length >= 3);
    for (const path of paths) assert.ok(existsSync(join(ROOT, path)), path);
    for (const volume of mounts.filter((source) => !source.startsWith('.'))) assert.ok(volume in compose.volumes, volume);
  });

  test('the alert rules are well formed and do what their own tests say', async () => {
    await run('promtool', ['check', 'config', join(ROOT, 'config/prometheus/prometheus.yml')]);
    await run('promtool', ['test', 'rules', join(ROOT, 'config/prometheus/alerts.test.yml')]);
  });

  test('the dashboard asks the data source that is provisioned', () => {
    const { datasources } = yaml.load(read('config/grafana/provisioning/datasources/prometheus.yml'));
    const { providers } = yaml.load(read('config/grafana/provisioning/dashboards/cofferdam.yml'));
    const mounted = compose.services.grafana.volumes.map((volume) => volume.split(':')[1]);
    assert.ok(mounted.includes(providers[0].options.path));
    assert.equal(dashboards.length, 1);
    for (const panel of dashboards[0].panels.filter(({ type }) => type !== 'row')) {
      assert.ok(panel.targets.length > 0, panel.title);
      for (const { datasource } of panel.targets) assert.equal(datasource.uid, datasources[0].uid, panel.title);
    }
  });
});

describe('the services, as plain processes', () => {
  const ports = {};
  let environment;
  let database;
  let broker;
  let prometheus;
  const people = {};

  before(async () => {
    const server = process.env.COFFERDAM_TEST_POSTGRES;
    assert.ok(server, 'COFFERDAM_TEST_POSTGRES is not set: run this by scripts/with-postgres.sh');
    database = `deployment_${randomBytes(6).toString('hex')}`;
    await run('psql', [server, '-qc', `CREATE DATABASE ${database}`]);

    // What the file says, with the addresses of this machine in place of the network's.
    environment = { ...compose.services.broker.environment, ...variables('broker.env') };
    for (const [key, value] of Object.entries(environment)) {
      if (!key.endsWith('__BIND')) continue;
      const port = Number(value.split(':')[1]);
      ports[port] = await freePort();
      environment[key] = `127.0.0.1:${ports[port]}`;
    }
    environment.COFFERDAM__DATA_DIR = join(directory, 'data');
    environment.COFFERDAM__DATABASE__URL = server.replace(/[^/]+$/, database);
    broker = new Daemon('cofferdam', binary(), ['serve'], { cwd: directory, env: { ...process.env, ...environment } });
    await broker.ready(`http://127.0.0.1:${ports[9080]}/readyz`);

    const config = yaml.load(read('config/prometheus/prometheus.yml'));
    assert.deepEqual(config.scrape_configs[0].static_configs, [{ targets: ['broker:9080'] }]);
    config.scrape_configs[0].static_configs[0].targets = [`127.0.0.1:${ports[9080]}`];
    config.global = { scrape_interval: '250ms', evaluation_interval: '250ms' };
    writeFileSync(join(directory, 'prometheus.yml'), yaml.dump(config));
    cpSync(join(ROOT, 'config/prometheus/alerts.yml'), join(directory, 'alerts.yml'));
    ports.prometheus = await freePort();
    const flags = compose.services.prometheus.command.map((flag) => flag
      .replace('=/etc/prometheus/', `=${directory}/`)
      .replace(/=\/prometheus$/, `=${directory}/prometheus`));
    prometheus = new Daemon('prometheus', 'prometheus', [...flags, `--web.listen-address=127.0.0.1:${ports.prometheus}`]);
    await prometheus.ready(`http://127.0.0.1:${ports.prometheus}/-/ready`);
  });
  after(async () => {
    await prometheus?.stop('SIGTERM');
    assert.equal(await broker?.stop('SIGTERM'), 0); // as a container engine stops it
    if (database) await run('psql', [process.env.COFFERDAM_TEST_POSTGRES, '-qc', `DROP DATABASE ${database} WITH (FORCE)`]);
  });

  const cofferdam = (...args) => run(binary(), args, { cwd: directory, env: { ...process.env, ...environment } });
  const ask = async (path) => {
    const response = await fetch(`http://127.0.0.1:${ports.prometheus}/api/v1/${path}`);
    const { status, data, error } = await response.json();
    assert.equal(status, 'success', `${path}: ${error}`);
    return data;
  };
  const query = async (expression) => (await ask(`query?query=${encodeURIComponent(expression)}`)).result;

  test('the health check of the file says that the broker is well, and would say if it were not', async () => {
    const [kind, ...command] = compose.services.broker.healthcheck.test;
    assert.equal(kind, 'CMD');
    const check = (port) => command.map((word) => word.replace('/9080', `/${port}`));
    const [program, ...args] = check(ports[9080]);
    await run(program, args);
    const [, ...other] = check(await freePort());
    assert.notEqual((await run(program, other, { expect: null })).code, 0);
  });

  test('the broker serves a message on PostgreSQL, and what it did is on record there', async () => {
    writeFileSync(join(directory, 'world.toml'), `[[team]]\nid = "acme"\nname = "Acme"\n${['ann', 'abe'].map((name) => {
      const username = `${name}@acme`;
      people[name] = { username, clientId: username, password: randomBytes(16).toString('hex') };
      return `[[client]]\nname = "${name}"\nteam = "acme"\npassword = "${people[name].password}"\nacl = [{ action = "both", effect = "allow", pattern = "#" }]\n`;
    }).join('')}`, { mode: 0o600 });
    await cofferdam('apply', 'world.toml');
    const got = await exchange(mqtt, {
      url: `wss://localhost:${ports[8443]}`, protocolVersion: 5, ca: readFileSync(join(directory, 'data/tls/ca.pem')),
      sender: people.ann, receiver: people.abe, room: 'hall',
    });
    assert.deepEqual(got, expectedExchange('hall'));
    await eventually('audit records in PostgreSQL', async () => {
      const { stdout } = await cofferdam('audit', 'list', '--json', '--team', 'acme');
      const events = jsonLines(stdout).filter(({ event }) => /connect$/.test(event)).map(({ event, actor }) => `${event} ${actor}`);
      return ['connect ann@acme', 'connect abe@acme', 'disconnect ann@acme', 'disconnect abe@acme'].every((line) => events.includes(line));
    });
  });

  test('Prometheus reads the broker, and the alert rules are loaded and quiet', async () => {
    const target = await eventually('target that is up', async () => (await ask('targets')).activeTargets.find(({ health }) => health === 'up'));
    assert.equal(target.labels.job, 'cofferdam');
    const { groups } = await ask('rules');
    const rules = groups.flatMap((group) => group.rules);
    assert.deepEqual(rules.map(({ name }) => name), yaml.load(read('config/prometheus/alerts.yml')).groups[0].rules.map(({ alert }) => alert));
    await eventually('evaluated rules', async () => (await ask('rules')).groups[0].rules.every(({ health }) => health === 'ok'));
    assert.deepEqual((await ask('alerts')).alerts, []);
  });

  test('every question of the dashboard and of the alert rules is about a metric that the broker has', async () => {
    const table = [...read('src/telemetry/metric.rs').matchAll(/^ {4}[A-Z_]+ (Counter|Gauge|Histogram) "(\w+)" \[(.*)\]$/gm)];
    const known = new Map(table.map(([, kind, name, labels]) => [kind === 'Histogram' ? `${name}_bucket` : name, labels]));
    // What has no labels is on the page from the first moment on.
    const page = await fetch(`http://127.0.0.1:${ports[9080]}/metrics`).then((response) => response.text());
    const expressions = [
      ...dashboards.flatMap(({ panels }) => panels).flatMap(({ targets = [] }) => targets).map(({ expr }) => expr),
      ...yaml.load(read('config/prometheus/alerts.yml')).groups.flatMap(({ rules }) => rules).map(({ expr }) => expr),
    ];
    for (const expression of expressions) {
      for (const name of expression.match(/cofferdam_\w+/g) ?? []) {
        assert.ok(known.has(name), `the broker has no ${name}, asked for in ${expression}`);
        if (!known.get(name)) assert.match(page, new RegExp(`^${name}[ {]`, 'm'));
        const labels = ['instance', 'le', ...known.get(name).matchAll(/\w+/g)].map(String);
        for (const label of (expression.match(/by \(([^)]*)\)/)?.[1] ?? '').match(/\w+/g) ?? []) {
          assert.ok(labels.includes(label), `${name} has no label ${label}, asked for in ${expression}`);
        }
      }
    }
    for (const expression of expressions) {
      await query(expression.replaceAll('$__rate_interval', '5s').replaceAll('$instance', '.*'));
    }
    // What the exchange above left behind is there to be seen.
    const lively = dashboards[0].panels.filter(({ title }) => ['Messages by QoS', 'Connects', 'Disconnects by cause', 'Records written'].includes(title));
    assert.equal(lively.length, 4);
    for (const { title, targets } of lively) {
      for (const { expr } of targets) {
        await eventually(`data for ${title}`, async () => (await query(expr.replaceAll('$__rate_interval', '1h').replaceAll('$instance', '.*'))).length > 0);
      }
    }
  });
});
