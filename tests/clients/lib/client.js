// An MQTT.js client whose messages are waited for one by one.

import mqtt from 'mqtt';
import { Inbox, within } from './deadline.js';

/** Connects over `transport`; options are MQTT.js' own. Resolves once CONNACK is there. */
export async function connect(broker, transport, user, options = {}) {
  const inbox = new Inbox();
  const connected = mqtt.connectAsync(broker.url(transport, options.path), {
    username: user.username, password: user.password, clientId: user.clientId ?? user.username,
    ca: broker.ca, protocolVersion: 5, reconnectPeriod: 0, ...options,
  }, false);
  const client = await within(connected, `CONNACK for ${user.username}`);
  client.on('message', (topic, payload, packet) => inbox.put({ topic, payload: payload.toString(), packet }));
  client.inbox = inbox;
  /** The payload of the next message on this topic. */
  client.payload = async (topic) => (await inbox.take(`message on ${topic}`, (message) => message.topic === topic)).payload;
  return client;
}
