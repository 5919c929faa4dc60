// mosquitto_pub and mosquitto_sub, as Debian ships them, over TLS.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Broker, startBroker } from './lib/broker.js';
import { Daemon, run } from './lib/process.js';

let broker;
before(async () => { broker = await startBroker(); });
after(() => broker?.stop());

const VERSIONS = { 4: 'mqttv311', 5: 'mqttv5' };

/** The arguments with which a mosquitto client logs in as `user`. */
function login(user, version) {
  return ['-h', 'localhost', '-p', String(broker.ports.tls), '--cafile', broker.caFile,
    '-u', user.username, '-P', user.password, '-i', user.clientId, '-V', VERSIONS[version]];
}

/** A running mosquitto_sub that has been granted its subscription. */
async function subscriber(user, version, ...args) {
  // stdbuf: what it prints is to be seen at once, also through a pipe
  const sub = new Daemon('mosquitto_sub', 'stdbuf', ['-oL', 'mosquitto_sub', '-d', '-F', 'got %t %q %r %p', ...login(user, version), ...args]);
  await sub.printed(/Subscribed \(mid: \d+\): \d/);
  return sub;
}

for (const [version, name] of [[4, '3.1.1'], [5, '5.0']]) {
  test(`mosquitto_pub reaches mosquitto_sub at every QoS with MQTT ${name} over TLS`, async () => {
    const { alice, adam } = broker.world;
    const topic = `hall/${version}`;
    const sub = await subscriber(adam, version, '-t', `${topic}/#`, '-q', '2');
    for (const qos of [0, 1, 2]) {
      await run('mosquitto_pub', [...login(alice, version), '-t', `${topic}/${qos}`, '-q', String(qos), '-m', `at ${qos}`]);
      await sub.printed(`got ${topic}/${qos} ${qos} 0 at ${qos}\n`);
    }
    await sub.stop();
  });

  test(`mosquitto_sub gets the retained message that was there before it, with MQTT ${name}`, async () => {
    const { alice, adam } = broker.world;
    const topic = `shelf/${version}`;
    await run('mosquitto_pub', [...login(alice, version), '-t', topic, '-q', '1', '-r', '-m', 'kept']);
    const { stdout } = await run('mosquitto_sub', [...login(adam, version), '-t', topic, '-q', '1', '-C', '1', '-W', '10', '-F', '%t %q %r %p']);
    assert.equal(stdout, `${topic} 1 1 kept\n`);
  });

  test(`the will of a mosquitto_sub that is killed is published, with MQTT ${name}`, async () => {
    const { alice, adam } = broker.world;
    const topic = `farewell/${version}`;
    const watcher = await subscriber(adam, version, '-t', topic, '-q', '1');
    const mortal = await subscriber(alice, version, '-t', 'anything',
      '--will-topic', topic, '--will-payload', 'gone', '--will-qos', '1');
    await mortal.stop('SIGKILL');
    await watcher.printed(`got ${topic} 1 0 gone\n`);
    await watcher.stop();
  });
}

test('a client certificate made by openssl is a login for mosquitto_pub and mosquitto_sub', async () => {
  const certified = new Broker();
  const { alice } = certified.world;
  const openssl = (...args) => run('openssl', args, { cwd: certified.directory });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'clients.pem', '-subj', '/CN=Clients', '-days', '2');
  await openssl('req', ...key, '-keyout', 'own.key', '-out', 'own.csr', '-subj', `/CN=${alice.username}`);
  writeFileSync(join(certified.directory, 'own.ext'), 'extendedKeyUsage = clientAuth\n');
  await openssl('x509', '-req', '-in', 'own.csr', '-CA', 'clients.pem', '-CAkey', 'ca.key', '-CAcreateserial',
    '-days', '2', '-extfile', 'own.ext', '-out', 'own.pem');
  try {
    await certified.start({
      listener: { tls: ['client_ca = "clients.pem"'] },
      env: { COFFERDAM__IDENTITY__CERTIFICATE__USERNAME: '{cn}' },
    });
    const to = ['-h', 'localhost', '-p', String(certified.ports.tls), '--cafile', certified.caFile, '-i', alice.clientId];
    const shown = ['--cert', join(certified.directory, 'own.pem'), '--key', join(certified.directory, 'own.key')];
    await run('mosquitto_pub', [...to, ...shown, '-t', 'door', '-q', '1', '-r', '-m', 'open']);
    const { stdout } = await run('mosquitto_sub', [...to, ...shown, '-t', 'door', '-C', '1', '-W', '10']);
    assert.equal(stdout, 'open\n');
    const without = ['-u', alice.username, '-P', alice.password];
    await assert.rejects(run('mosquitto_pub', [...to, ...without, '-t', 'door', '-q', '1', '-m', 'x']));
  } finally {
    await certified.stop();
  }
});
