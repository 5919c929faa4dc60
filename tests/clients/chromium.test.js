// MQTT.js in a real browser: headless Chromium over secure WebSockets.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startBroker } from './lib/broker.js';
import { startBrowser } from './lib/browser.js';
import { eventually } from './lib/deadline.js';
import { exchange, expectedExchange } from './lib/exchange.js';

const ALLOWED = 'https://console.example';
const FOREIGN = 'https://elsewhere.example';

let broker;
let browser;
before(async () => {
  broker = await startBroker({ listener: { wss: [`allowed_origins = ["${ALLOWED}"]`] } });
  browser = await startBrowser(broker.caFile);
});
after(async () => {
  await browser?.close();
  await broker?.stop();
});

for (const [protocolVersion, name] of [[4, '3.1.1'], [5, '5.0']]) {
  test(`MQTT.js in Chromium publishes and receives at every QoS with MQTT ${name} over wss`, async () => {
    const { alice, adam } = broker.world;
    const room = `tab/${protocolVersion}`;
    const page = await browser.page(ALLOWED);
    await page.addScriptTag({ content: `window.exchange = ${exchange}` });
    const got = await page.evaluate((settings) => window.exchange(window.mqtt, settings), {
      url: broker.url('wss'), protocolVersion, sender: alice, receiver: adam, room,
    });
    await page.close();
    assert.deepEqual(got, expectedExchange(room));
  });
}

test('a page of another origin gets no WebSocket, and the refusal is on record', async () => {
  const refused = () => broker.metric('cofferdam_websocket_refused_total', { status: '403' });
  const counted = await refused();
  const page = await browser.page(FOREIGN);
  const code = await page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url, 'mqtt');
    socket.onopen = () => resolve('open');
    socket.onclose = (event) => resolve(event.code);
  }), broker.url('wss'));
  await page.close();
  assert.equal(code, 1006); // what a browser tells a script about any failed handshake
  const record = await broker.audited('refused origin', ({ event, detail }) => event === 'connect_refused' && detail.websocket_code === 403);
  assert.equal(record.listener, 'wss');
  await eventually('count of the refusal', async () => await refused() === counted + 1);
});
