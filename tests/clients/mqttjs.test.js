// MQTT.js in Node, over secure WebSockets, in both versions of the protocol.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import mqtt from 'mqtt';
import { startBroker } from './lib/broker.js';
import { exchange, expectedExchange } from './lib/exchange.js';

let broker;
before(async () => { broker = await startBroker(); });
after(() => broker?.stop());

for (const [protocolVersion, name] of [[4, '3.1.1'], [5, '5.0']]) {
  for (const path of ['/', '/mqtt']) {
    test(`MQTT.js publishes and receives at every QoS with MQTT ${name} over wss at ${path}`, async () => {
      const { alice, adam } = broker.world;
      const room = `room/${protocolVersion}${path.length}`;
      const got = await exchange(mqtt, {
        url: broker.url('wss', path), protocolVersion, ca: broker.ca, sender: alice, receiver: adam, room,
      });
      assert.deepEqual(got, expectedExchange(room));
    });
  }
}

test('every connection of MQTT.js is on record, from connect to disconnect', async () => {
  const { alice } = broker.world;
  const client = await mqtt.connectAsync(broker.url('wss'), { ...alice, ca: broker.ca, protocolVersion: 5 });
  await client.publishAsync('desk', 'hello', { qos: 1 });
  await client.endAsync();
  const mine = (record) => record.client_id === alice.clientId && record.listener === 'wss';
  const ended = await broker.audited('end of the connection', (record) => mine(record) && record.event === 'disconnect'
    && record.detail.messages_in === 1 && record.detail.cause === 'client', '--client', alice.clientId);
  assert.equal(ended.team, alice.team);
  assert.equal(ended.level, 'team');
  assert.equal(ended.actor, alice.username);
  assert.match(ended.remote, /^127\.0\.0\.1:\d+$/);
  assert.ok(ended.detail.bytes_in > 0 && ended.detail.bytes_out > 0, JSON.stringify(ended.detail));
  assert.ok(ended.detail.duration_ms >= 0, JSON.stringify(ended.detail));
});
