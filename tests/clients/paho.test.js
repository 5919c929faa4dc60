// Python's paho-mqtt, over plain WebSockets.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startBroker } from './lib/broker.js';
import { run } from './lib/process.js';
import { python } from './lib/python.js';

let broker;
before(async () => { broker = await startBroker(); });
after(() => broker?.stop());

for (const [version, name] of [[4, '3.1.1'], [5, '5.0']]) {
  test(`paho publishes and receives at every QoS with MQTT ${name} over ws`, async () => {
    const { alice, adam } = broker.world;
    const room = `snake/${version}`;
    const input = JSON.stringify({ port: broker.ports.ws, version, room, sender: alice, receiver: adam });
    const { stdout } = await run(python(), [join(import.meta.dirname, 'python/exchange.py')], { input });
    const message = (topic, payload, qos, retain = false) => ({ topic: `${room}/${topic}`, payload, qos, retain });
    assert.deepEqual(JSON.parse(stdout), {
      granted: 2,
      retained: message('retained', 'kept', 1, true),
      messages: [0, 1, 2].map((qos) => message('qos', `at ${qos}`, qos)),
      will: message('will', 'gone', 1),
    });
  });
}
