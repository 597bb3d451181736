// A page in a browser for as long as a test works with it. At the end it is asked whether the page
// complained about nothing and asked no other host.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { browserPath, startBrowser } from './browser.mjs';
import { serve } from './server.mjs';

export const skip = browserPath() ? false : 'no Chromium here';

let browser;
before(async () => {
  if (!skip) browser = await startBrowser();
});
after(() => browser?.close());

/** Opens a page at an address, lets `use` work with it, and asks that it was quiet. */
export async function open(url, { hash = '', allowed = /^$/, ...size }, use) {
  const page = await browser.page(size);
  try {
    await page.goto(url + hash);
    await use(page);
    assert.deepEqual(page.complaints.filter((one) => !allowed.test(one)), []);
    assert.deepEqual([...page.hosts], [new URL(url).host]);
  } finally {
    await page.closed();
  }
}

/** Opens a page of the server of the tests, signed in unless `signedIn` says otherwise. */
export async function visit(index, routes, { signedIn = true, scope, ...options }, use) {
  const server = await serve(index, routes);
  Object.assign(server.state, { signedIn, scope });
  try {
    await open(server.url, options, (page) => use(page, server));
  } finally {
    await server.close();
  }
}
