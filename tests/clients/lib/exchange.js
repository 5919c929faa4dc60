// What every MQTT.js client must be able to do, in Node and in a browser alike.

/**
 * Connects two clients of one team and lets one send to the other at every QoS, plain, retained and
 * as a will. Gives what was received, for the test to compare. Runs as it is in a browser page: it
 * may use nothing but its arguments and the global scope.
 *
 * `mqtt`: MQTT.js; `settings`: `{url, protocolVersion, ca, sender, receiver, room}`, where sender and
 * receiver are `{username, password, clientId}` and `room` is a topic that no other test uses.
 */
export async function exchange(mqtt, { url, protocolVersion, ca, sender, receiver, room }) {
  const deadline = (promise, what) => Promise.race([
    promise,
    new Promise((_, reject) => { setTimeout(() => reject(new Error(`no ${what} within 10 s`)), 10_000); }),
  ]);
  const connect = async (user, more) => {
    const client = await deadline(mqtt.connectAsync(url, {
      ...user, ca, protocolVersion, reconnectPeriod: 0, clean: true, ...more,
    }, false), `CONNACK for ${user.username}`);
    client.arrived = [];
    client.waiting = [];
    client.on('message', (topic, payload, packet) => {
      const message = {
        topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain, dup: packet.dup,
      };
      const waiter = client.waiting.shift();
      if (waiter) waiter(message);
      else client.arrived.push(message);
    });
    client.next = (what) => deadline(client.arrived.length
      ? Promise.resolve(client.arrived.shift())
      : new Promise((resolve) => { client.waiting.push(resolve); }), what);
    return client;
  };

  const will = { topic: `${room}/will`, payload: 'gone', qos: 1, retain: false };
  const from = await connect(sender, { will });
  const to = await connect(receiver);

  // A retained message is there before anybody asks for it, and is cleared again at the end.
  await from.publishAsync(`${room}/retained`, 'kept', { qos: 1, retain: true });
  const granted = await to.subscribeAsync(`${room}/#`, { qos: 2 });
  const retained = await to.next('retained message');

  const messages = [];
  for (const qos of [0, 1, 2]) {
    await from.publishAsync(`${room}/qos`, `at ${qos}`, { qos });
    messages.push(await to.next(`message at QoS ${qos}`));
  }
  await from.publishAsync(`${room}/retained`, '', { qos: 1, retain: true });
  const cleared = await to.next('end of the retained message');

  // Cut without DISCONNECT, as a browser tab or device that vanishes.
  from.stream.destroy();
  const last = await to.next('will');
  await to.endAsync();
  return { granted: granted.map(({ topic, qos }) => ({ topic, qos })), retained, messages, cleared, will: last, unexpected: to.arrived };
}

/** What `exchange` gives where everything works. */
export function expectedExchange(room) {
  const message = (topic, payload, qos, retain = false) => ({ topic: `${room}/${topic}`, payload, qos, retain, dup: false });
  return {
    granted: [{ topic: `${room}/#`, qos: 2 }],
    retained: message('retained', 'kept', 1, true),
    messages: [0, 1, 2].map((qos) => message('qos', `at ${qos}`, qos)),
    cleared: message('retained', '', 1),
    will: message('will', 'gone', 1),
    unexpected: [],
  };
}
