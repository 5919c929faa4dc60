// Real Node-RED runtimes with the platform's project-link nodes, over secure WebSockets: the traffic
// that this broker is for.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBroker } from './lib/broker.js';
import { Inbox } from './lib/deadline.js';
import { startForge, startRuntime } from './lib/node-red.js';

let broker;
let forge;
before(async () => {
  broker = await startBroker();
  const { a1, a2, b1 } = broker.world;
  forge = await startForge([a1, a2, b1]);
});
after(async () => {
  forge?.stop();
  await broker?.stop();
});

/** Starts runtimes side by side. */
const start = (...runtimes) => Promise.all(runtimes.map((runtime) => startRuntime({ broker, forge, ...runtime })));
const stop = (runtimes) => Promise.all(runtimes.map((runtime) => runtime?.stop()));

describe('two instances of team A, one of team B, and one of team B that claims to be of team A', () => {
  let runtimes = [];
  let one;
  let two;
  let other;
  let forger;

  before(async () => {
    const { a1, a2, b1 } = broker.world;
    runtimes = await start(
      { name: 'A1', as: a1, target: a2 },
      { name: 'A2', as: a2, target: a1 },
      { name: 'B1', as: b1, target: b1 },
      // B's credential, A's ids in every topic, and the client id of A1's own session.
      { name: 'forger', as: b1, claims: a1, target: a2, clientId: `${a1.username}:n` },
    );
    [one, two, other, forger] = runtimes;
    for (const runtime of [one, two, other]) {
      await runtime.post('self', 'ready');
      await runtime.heard('self', 'ready');
    }
  });
  after(() => stop(runtimes));

  test('a direct message passes inside team A', async () => {
    await one.post('direct', 'from one to two');
    const told = await two.heard('direct');
    assert.deepEqual(told, { at: 'A2', kind: 'direct', payload: 'from one to two', from: broker.world.a1.id });
  });

  test('a broadcast reaches every instance of team A, its sender too, and nobody else', async () => {
    await one.post('broadcast', 'to all of A');
    for (const runtime of [one, two]) {
      const told = await runtime.heard('broadcast');
      assert.deepEqual(told, { at: runtime.name, kind: 'broadcast', payload: 'to all of A', from: broker.world.a1.id });
    }
    // The next thing that B hears is its own: A's broadcast, delivered before this one was sent, is not there.
    await other.post('broadcast', 'to all of B');
    assert.equal((await other.heard('broadcast')).payload, 'to all of B');
    assert.deepEqual(other.inbox.rest(), []);
  });

  test('a link call gets its answer inside team A', async () => {
    assert.deepEqual(await one.post('call', 'hello'), { answer: 'HELLO' });
    assert.deepEqual(await two.post('call', 'hello again'), { answer: 'HELLO AGAIN' });
  });

  test('team B with settings forged to team A delivers nothing, gets nothing, and is on record', async () => {
    const { a1, a2, b1 } = broker.world;
    for (const kind of ['direct', 'broadcast', 'self']) {
      await forger.post(kind, `forged ${kind}`);
      const error = await forger.heard('error');
      assert.equal(error.from, `${kind}-out`);
      assert.match(error.payload, /not authorized/i);
    }
    await one.post('broadcast', 'still only A');
    assert.equal((await one.heard('broadcast')).payload, 'still only A');
    assert.equal((await two.heard('broadcast')).payload, 'still only A');
    await two.post('direct', 'still A1');
    assert.equal((await one.heard('direct')).payload, 'still A1');
    // One more round trip on the forger's connection, after all of that was delivered to team A.
    await forger.post('self', 'anything for me?');
    await forger.heard('error');
    assert.deepEqual([...one.inbox.rest(), ...two.inbox.rest(), ...other.inbox.rest(), ...forger.inbox.rest()], []);
    assert.doesNotMatch(one.log, /Project Link nodes connection closed/, 'the same client id in another team cut A1');

    const refused = async (event, field, topic) => {
      const record = await broker.audited(`${event} ${topic}`, ({ event: e, actor, detail }) => e === event && actor === b1.username && detail[field] === topic);
      assert.deepEqual([record.team, record.level], [b1.team, 'team']);
    };
    const root = `ff/v1/${a1.team}/p`;
    for (const filter of [`${root}/${a1.id}/in/inbox`, `${root}/+/out/news`, `${root}/${a1.id}/in/shout`, `${root}/${a1.id}/in/self`, `${root}/${a1.id}/res/shout`]) {
      await refused('subscribe_refused', 'filter', filter);
    }
    for (const topic of [`${root}/${a2.id}/in/inbox`, `${root}/${a1.id}/out/news`, `${root}/${a1.id}/in/self`]) {
      await refused('publish_refused', 'topic', topic);
    }
  });
});

describe('two replicas of one instance in HA mode', () => {
  const inbox = new Inbox(); // of both replicas
  let runtimes = [];
  before(async () => {
    const { a1, a2 } = broker.world;
    runtimes = await start(
      { name: 'A1', as: a1, target: a2 },
      { name: 'A2 replica 1', as: a2, target: a1, ha: 1, inbox },
      { name: 'A2 replica 2', as: a2, target: a1, ha: 2, inbox },
    );
    for (const replica of runtimes.slice(1)) {
      await replica.post('self', `${replica.name} is ready`);
      await replica.heard('self', `${replica.name} is ready`); // at whichever of them
    }
  });
  after(() => stop(runtimes));

  test('each message is handled once, by one of them', async () => {
    const [one, ...replicas] = runtimes;
    const expected = Array.from({ length: 30 }, (_, index) => `job ${index}`);
    for (const job of expected) await one.post('direct', job);
    // A fence at each replica: it hears its messages in order, so what comes after cannot have been before.
    const fenced = new Set();
    for (let round = 0; fenced.size < replicas.length; round += 1) {
      assert.ok(round < 30, `of the replicas only ${[...fenced]} get messages`);
      await one.post('direct', `fence ${round}`);
      fenced.add((await replicas[0].heard('direct', `fence ${round}`)).at);
    }
    const handled = inbox.rest().map(({ payload }) => payload);
    assert.deepEqual(handled.sort(), expected.sort());
  });

  test('a call from a replica is answered to that replica', async () => {
    const [, first, second] = runtimes;
    assert.deepEqual(await first.post('call', 'one'), { answer: 'ONE' });
    assert.deepEqual(await second.post('call', 'two'), { answer: 'TWO' });
  });
});
