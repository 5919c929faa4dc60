// The device agent, played by MQTT.js with the agent's own settings: MQTT 3.1.1, a clean session, keep
// alive 60 s, client id = username, path `/`, subprotocol `mqtt`, permessage-deflate offered.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { startBroker } from './lib/broker.js';
import { connect } from './lib/client.js';
import { within } from './lib/deadline.js';

let broker;
let device;
let platform;
let base;
let socket;
before(async () => {
  broker = await startBroker();
  const { deviceA } = broker.world;
  base = `ff/v1/${deviceA.team}/d/${deviceA.id}`;
  platform = await connect(broker, 'wss', broker.world.platform, { clientId: 'forge_platform:0a1b2c3d' });
  device = await connect(broker, 'wss', deviceA, {
    path: '/', protocolVersion: 4, clean: true, keepalive: 60, clientId: deviceA.username,
    createWebsocket: (url, protocols) => {
      socket = new WebSocket(url, protocols, { ca: broker.ca, perMessageDeflate: true });
      return socket;
    },
  });
});
after(async () => {
  await device?.endAsync();
  await platform?.endAsync();
  await broker?.stop();
});

test('the broker picks the subprotocol mqtt and takes no compression', () => {
  assert.equal(socket.protocol, 'mqtt');
  assert.equal(socket.extensions, '');
});

test('what the device reports reaches the platform', async () => {
  const granted = await platform.subscribeAsync([`ff/v1/+/d/+/status`, `ff/v1/+/d/+/logs`, `ff/v1/+/d/+/response/abc`], { qos: 2 });
  assert.deepEqual(granted.map(({ qos }) => qos), [2, 2, 2]);
  for (const [topic, qos] of [['status', 0], ['logs', 0], ['response/abc', 1]]) {
    await device.publishAsync(`${base}/${topic}`, JSON.stringify({ report: topic }), { qos });
    assert.equal(await platform.payload(`${base}/${topic}`), JSON.stringify({ report: topic }));
  }
});

test('a command of the platform reaches the device, to itself and to its application', async () => {
  const { deviceA } = broker.world;
  const topics = [`${base}/command`, `ff/v1/${deviceA.team}/a/${deviceA.owner.id}/command`];
  const granted = await device.subscribeAsync(topics, { qos: 1 });
  assert.deepEqual(granted.map(({ qos }) => qos), [1, 1]);
  for (const topic of topics) {
    await platform.publishAsync(topic, '{"command":"update"}', { qos: 1 });
    assert.equal(await device.payload(topic), '{"command":"update"}');
  }
});

test('a snapshot of a quarter of a megabyte arrives whole', async () => {
  await device.subscribeAsync(`${base}/command`, { qos: 1 });
  const snapshot = 'flow '.repeat(50_000);
  await platform.publishAsync(`${base}/command`, snapshot, { qos: 1 });
  assert.equal(await device.payload(`${base}/command`), snapshot);
});

test('the device neither hears nor speaks for another device, and stays connected when refused', async () => {
  const { deviceA } = broker.world;
  const other = `ff/v1/${deviceA.team}/d/devA000002`;
  await assert.rejects(within(device.subscribeAsync(`${other}/command`, { qos: 1 }), 'SUBACK'), /Subscribe error|Unspecified error/);
  await device.publishAsync(`${other}/status`, 'forged', { qos: 1 }); // 3.1.1: acknowledged and dropped
  await device.publishAsync(`${base}/status`, 'mine', { qos: 1 }); // the same connection, still there
  await platform.inbox.take('own status', ({ topic, payload }) => topic === `${base}/status` && payload === 'mine');
  assert.deepEqual(platform.inbox.rest(), []);
});
