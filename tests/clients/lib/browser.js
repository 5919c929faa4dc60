// Headless Chromium that trusts exactly one certificate authority: the broker's.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { run, temporaryDirectory } from './process.js';

const MQTT_BUNDLE = join(import.meta.dirname, '../node_modules/mqtt/dist/mqtt.min.js');

/** A browser with a fresh profile; close it with `close()`. */
export async function startBrowser(caFile) {
  const home = temporaryDirectory('browser');
  const database = join(home, '.pki/nssdb');
  mkdirSync(database, { recursive: true });
  await run('certutil', ['-d', `sql:${database}`, '-N', '--empty-password']);
  await run('certutil', ['-d', `sql:${database}`, '-A', '-t', 'C,,', '-n', 'cofferdam', '-i', caFile]);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    env: { ...process.env, HOME: home },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      // Else a page from the outside would have to ask the user before it may reach a loopback address.
      '--disable-features=LocalNetworkAccessChecks'],
  });
  return {
    /** A page of this origin with MQTT.js loaded; the page itself comes from nowhere. */
    async page(origin) {
      const page = await browser.newPage();

      await page.route('**/*', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>a tab</title>' }));
      await page.goto(origin);
      await page.addScriptTag({ path: MQTT_BUNDLE });
      return page;
    },
    close: () => browser.close(),
  };
}
