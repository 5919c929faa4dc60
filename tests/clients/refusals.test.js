// Every refusal: the client sees the right code, the audit store has the row with the true reason, the
// metrics count it, and nobody else notices.

import assert from 'node:assert/strict';
import { request } from 'node:https';
import { after, afterEach, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { startBroker } from './lib/broker.js';
import { eventually, within } from './lib/deadline.js';
import { addressOf, bytes, connectBytes, dial, login, ownAddress } from './lib/raw.js';

const MAX_PACKET = 128 * 1024;
const ALLOWED_ORIGIN = 'https://console.example';

let broker;
let bystander;
before(async () => {
  broker = await startBroker({
    limits: { max_packet_size: '128 KiB', max_topic_levels: 16 },
    listener: { wss: [`allowed_origins = ["${ALLOWED_ORIGIN}"]`] },
    env: { COFFERDAM__LIMITS__CONNECT_TIMEOUT: '2 s' },
  });
  bystander = await login(broker, broker.world.bob);
});
afterEach(async () => assert.ok(await bystander.alive(), 'a connection of another team was harmed'));
after(async () => {
  bystander?.destroy();
  await broker?.stop();
});

/**
 * Runs `act`, which gives what the client saw and the address it came from, and then looks for the one
 * record of `event` from there and for the one count in `metric`.
 */
async function refusal({ act, event, detail, actor, team, metric: [name, labels] }) {
  const counted = await broker.metric(name, labels);
  const { seen, address } = await act();
  const record = await broker.audited(`${event} from ${address}`, (each) => each.event === event && each.remote === address);
  for (const [key, value] of Object.entries(detail)) assert.equal(record.detail[key], value, JSON.stringify(record));
  if (actor !== undefined) assert.equal(record.actor, actor);
  assert.equal(record.team ?? null, team ?? null);
  assert.equal(record.level, team ? 'team' : 'platform');
  assert.equal(await eventually(`count in ${name}`, async () => {
    const now = await broker.metric(name, labels);
    return now > counted && now - counted;
  }), 1);
  return seen;
}

describe('a login that is refused looks the same from outside, whatever the reason', () => {
  const logins = {
    wrong_password: () => ({ ...broker.world.alice, password: 'not hers' }),
    unknown_user: () => ({ ...broker.world.alice, username: 'nobody@aTeam00001', clientId: 'nobody@aTeam00001' }),
    team_suspended: () => broker.world.sam,
    anonymous: () => ({ username: undefined, password: undefined, clientId: 'somebody' }),
  };
  for (const [reason, user] of Object.entries(logins)) {
    for (const version of [4, 5]) {
      test(`${reason}, MQTT ${version === 5 ? '5.0' : '3.1.1'}`, async () => {
        const seen = await refusal({
          event: 'connect_refused',
          detail: { reason },
          actor: user().username ?? null,
          team: { wrong_password: broker.world.alice.team, team_suspended: broker.world.sam.team }[reason],
          metric: ['cofferdam_connects_refused_total', { reason }],
          act: async () => {
            const client = await dial(broker, 'tls', version);
            client.send(connectBytes(user(), { version }));
            const seen = await client.closed();
            return { seen, address: client.address };
          },
        });
        const told = version === 5 ? { reasonCode: 0x86 } : { returnCode: 4 };
        assert.equal(seen.length, 1);
        const { cmd, sessionPresent, reasonCode, returnCode, properties } = seen[0];
        assert.deepEqual({ cmd, sessionPresent, ...(version === 5 ? { reasonCode } : { returnCode }) }, { cmd: 'connack', sessionPresent: false, ...told });
        assert.equal(properties?.reasonString, undefined);
      });
    }
  }
});

describe('what is refused inside a connection does not end it', () => {
  const forbidden = () => `ff/v1/${broker.world.b1.team}/p/${broker.world.b1.id}/in/inbox`;
  for (const version of [4, 5]) {
    const name = version === 5 ? '5.0' : '3.1.1';
    for (const [qos, answer] of [[0, null], [1, 'puback'], [2, 'pubrec']]) {
      test(`a publish to another team at QoS ${qos}, MQTT ${name}`, async () => {
        const { a1 } = broker.world;
        const seen = await refusal({
          event: 'publish_refused',
          detail: { topic: forbidden() },
          actor: a1.username,
          team: a1.team,
          metric: ['cofferdam_publishes_refused_total', {}],
          act: async () => {
            const client = await login(broker, a1, { version, clientId: `${a1.username}:n` });
            client.send(bytes({ cmd: 'publish', topic: forbidden(), payload: 'x', qos, messageId: qos ? 7 : undefined }, version));
            const seen = answer ? await client.packet(answer) : null;
            await client.alive();
            client.destroy();
            return { seen, address: client.address };
          },
        });
        if (answer) assert.equal(seen.messageId, 7);
        if (answer && version === 5) assert.equal(seen.reasonCode, 0x87);
      });
    }

    test(`a subscription to another team, MQTT ${name}`, async () => {
      const { a1 } = broker.world;
      const seen = await refusal({
        event: 'subscribe_refused',
        detail: { filter: forbidden() },
        actor: a1.username,
        team: a1.team,
        metric: ['cofferdam_subscribes_refused_total', {}],
        act: async () => {
          const client = await login(broker, a1, { version, clientId: `${a1.username}:n` });
          const own = `ff/v1/${a1.team}/p/${a1.id}/in/inbox`;
          client.send(bytes({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: own, qos: 1 }, { topic: forbidden(), qos: 1 }] }, version));
          const seen = await client.packet('suback');
          await client.alive();
          client.destroy();
          return { seen: seen.granted, address: client.address };
        },
      });
      assert.deepEqual(seen, [1, version === 5 ? 0x87 : 0x80]);
    });
  }

  test('a topic name with too many levels', async () => {
    const { alice } = broker.world;
    const deep = Array.from({ length: 40 }, (_, level) => level).join('/');
    const seen = await refusal({
      event: 'publish_refused', detail: { topic: `ff/v1/${alice.team}/c/${deep}`, reason_code: 0x90 }, actor: alice.username, team: alice.team,
      metric: ['cofferdam_publishes_refused_total', {}],
      act: async () => {
        const client = await login(broker, alice);
        client.send(bytes({ cmd: 'publish', topic: deep, payload: 'x', qos: 1, messageId: 3 }));
        const seen = await client.packet('puback');
        await client.alive();
        client.destroy();
        return { seen, address: client.address };
      },
    });
    assert.deepEqual([seen.messageId, seen.reasonCode], [3, 0x90]);
  });

  test('a pattern that denies is obeyed on delivery, where the subscription is wider', async () => {
    const { alice, anja } = broker.world;
    const reader = await login(broker, anja);
    reader.send(bytes({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'shared/#', qos: 1 }] }));
    assert.deepEqual((await reader.packet('suback')).granted, [1]);
    const writer = await login(broker, alice);
    for (const [messageId, topic] of [[1, 'shared/secret/plan'], [2, 'shared/open']]) {
      writer.send(bytes({ cmd: 'publish', topic, payload: topic, qos: 1, messageId }));
      await writer.packet('puback');
    }
    assert.equal((await reader.packet('publish')).topic, 'shared/open');
    reader.destroy();
    writer.destroy();
  });
});

describe('a WebSocket that is not for MQTT is refused', () => {
  /** The status of a failed handshake, with the address it came from. */
  const handshake = (path, headers) => within(new Promise((resolve, reject) => {
    const attempt = request({
      host: 'localhost', port: broker.ports.wss, path, ca: broker.ca, agent: false, family: 4, localAddress: ownAddress(),
      headers: {
        connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', ...headers,
      },
    });
    attempt.on('response', (response) => {
      resolve({ seen: response.statusCode, address: addressOf(response.socket) });
      response.destroy();
    });
    attempt.on('upgrade', (response, socket) => {
      resolve({ seen: response.statusCode, address: addressOf(socket) });
      socket.destroy();
    });
    attempt.on('error', reject);
    attempt.end();
  }), 'answer to the handshake');

  const cases = [
    ['a wrong path', 404, '/elsewhere', { 'sec-websocket-protocol': 'mqtt' }],
    ['a missing subprotocol', 400, '/', {}],
    ['another subprotocol', 400, '/mqtt', { 'sec-websocket-protocol': 'chat' }],
    ['an Origin that is not on the list', 403, '/', { 'sec-websocket-protocol': 'mqtt', origin: 'https://elsewhere.example' }],
  ];
  for (const [name, status, path, headers] of cases) {
    test(name, async () => {
      const seen = await refusal({
        event: 'connect_refused', detail: { reason: 'websocket', websocket_code: status },
        metric: ['cofferdam_websocket_refused_total', { listener: 'wss', status: String(status) }],
        act: () => handshake(path, headers),
      });
      assert.equal(seen, status);
    });
  }

  test('the same handshake with a listed Origin is taken, as is one without', async () => {
    const good = { 'sec-websocket-protocol': 'mqtt' };
    assert.equal((await handshake('/', { ...good, origin: ALLOWED_ORIGIN })).seen, 101);
    assert.equal((await handshake('/mqtt', good)).seen, 101);
  });

  test('a text frame', async () => {
    const seen = await refusal({
      event: 'connect_refused', detail: { reason: 'websocket', websocket_code: 1003 },
      metric: ['cofferdam_websocket_closed_total', { listener: 'wss', code: '1003' }],
      act: async () => {
        const socket = new WebSocket(broker.url('wss'), 'mqtt', { ca: broker.ca, family: 4, localAddress: ownAddress() });
        await within(new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject); }), 'WebSocket');
        const address = addressOf(socket._socket);
        socket.send('hello');
        const seen = await within(new Promise((resolve) => { socket.once('close', resolve); }), 'close frame');
        return { seen, address };
      },
    });
    assert.equal(seen, 1003);
  });
});

describe('bytes that are not a CONNECT are refused without a word', () => {
  /** A CONNECT whose body is these bytes. */
  const connectWith = (body) => Buffer.concat([Buffer.from([0x10, body.length]), body]);
  const cases = [
    ['garbage', 'malformed', () => Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a PUBLISH before any CONNECT', 'malformed', () => bytes({ cmd: 'publish', topic: 'a', payload: 'b', qos: 0 })],
    ['a CONNECT that never comes', 'connect_timeout', () => null],
    ['half a CONNECT', 'connect_timeout', () => connectBytes(broker.world.alice).subarray(0, 20)],
    ['a CONNECT that promises more than 64 KiB', 'malformed', () => Buffer.from([0x10, 0x80, 0x80, 0x08, 0x00])],
    ['a client id that is not UTF-8', 'malformed', () => connectWith(Buffer.from('00044d5154540502003c000002c328', 'hex'))],
    ['an unknown property', 'malformed', () => connectWith(Buffer.from('00044d5154540502003c027f000000', 'hex'))],
  ];
  for (const [name, reason, sent] of cases) {
    test(name, async () => {
      const seen = await refusal({
        event: 'connect_refused', detail: { reason }, metric: ['cofferdam_connects_refused_total', { reason }],
        act: async () => {
          const client = await dial(broker);
          const data = sent();
          if (data) client.send(data);
          return { seen: await client.closed(), address: client.address };
        },
      });
      assert.deepEqual(seen.filter(({ cmd, reasonCode }) => cmd !== 'connack' || reasonCode < 0x80), [], 'at most a refusing CONNACK');
    });
  }
});

describe('a client that breaks the protocol is told why and disconnected', () => {
  const cases = [
    ['a second CONNECT', 0x82, () => connectBytes(broker.world.alice)],
    ['a wildcard in a topic name', 0x90, () => bytes({ cmd: 'publish', topic: Buffer.from('a/#'), payload: 'x', qos: 0 })],
    ['a topic name that is not UTF-8', 0x81, () => bytes({ cmd: 'publish', topic: Buffer.from([0x61, 0xc3, 0x28]), payload: 'x', qos: 0 })],
    ['a packet over the limit', 0x95, () => bytes({ cmd: 'publish', topic: 'a', payload: Buffer.alloc(MAX_PACKET), qos: 0 })],
    ['a reserved packet type', 0x81, () => Buffer.from([0x00, 0x00])],
    ['an unknown property', 0x81, () => Buffer.from('300600016102 7f00'.replaceAll(' ', ''), 'hex')],
  ];
  for (const [name, code, sent] of cases) {
    test(name, async () => {
      const { alice } = broker.world;
      const seen = await refusal({
        event: 'disconnect', detail: { cause: 'protocol', reason_code: code }, actor: alice.username, team: alice.team,
        metric: ['cofferdam_disconnects_total', { cause: 'protocol' }],
        act: async () => {
          const client = await login(broker, alice);
          client.send(sent());
          return { seen: await client.closed(), address: client.address };
        },
      });
      assert.deepEqual(seen.map(({ cmd, reasonCode }) => [cmd, reasonCode]), [['disconnect', code]]);
    });
  }
});
