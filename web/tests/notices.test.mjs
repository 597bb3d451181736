// What people are told, on the pages of gateway and hub, under the policy the services send.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fleet } from './fixtures.mjs';
import { startGateway, startHub, without } from './gateway.mjs';
import { open, skip, visit } from './visit.mjs';
import {
  acknowledgedNotice, flow, idOf, notice, ownRun, run, toldRoutes, workflowRoutes,
} from './workflows.mjs';

const NOTICES = "document.querySelector('.notices').innerText.replace(/\\s+/g, ' ')";
const PANE = "document.querySelector('.pane').innerText.replace(/\\s+/g, ' ')";
const INCIDENTS = "document.querySelector('.incidents').innerText.replace(/\\s+/g, ' ')";
const CLOSED = "!document.querySelector('dialog')";

const PAGES = [
  ['gateway', 'workflows.html', (notices, runs) => workflowRoutes([flow('pump-dry')], runs, notices)],
  ['hub', 'runs.html', (notices, runs) => toldRoutes(fleet(4), runs, notices)],
];

for (const [kind, page_, routesOf] of PAGES) {
  const runs = () => [kind === 'hub' ? ownRun(2) : run(2)];

  test(`${kind}: who is told, about what, since when, how often, and why not`, { skip }, () => {
    const notices = [notice(1)];
    return visit(page_, routesOf(notices, runs()), {}, async (page) => {
      await page.until(`${NOTICES}.startsWith('1 open notice ')`);
      await page.until(`/ps-017 runs dry To on-call, about ps-017, by pump-dry, since [^(]+ \\(2 h ago\\), said 3 times, the last 1 min ago/.test(${NOTICES})`);
      await page.until(`/mail ann@site.example: sent 2 times, the last 20 min ago, the next time [^(]+ \\(in 40 min\\) webhook/.test(${NOTICES})`);
      await page.until(`${NOTICES}.includes('webhook: not sent yet, failed 4 times in a row: unreachable: chat.site.example does not answer, the next time is now')`);
      assert.equal(await page.value(`${NOTICES}.includes('By runs of the hub itself')`), kind === 'hub');
      // Which are new come by themselves.
      notices.push(notice(2, { text: 'tank-1 is full', channels: [], device: null }));
      await page.until(`${NOTICES}.startsWith('2 open notices') && ${NOTICES}.includes('Not sent yet.')`);
      await page.click('.notices button', 'Open run');
      await page.until(`${PANE}.startsWith('pump-dry') && location.hash === '#run=${idOf(2)}'`);
    });
  });

  test(`${kind}: that somebody knows is asked back, told to the node, and stays to be read`, { skip }, () => {
    const notices = [notice(1), notice(2, { text: 'tank-1 is full' })];
    const routes = routesOf(notices, runs());
    return visit(page_, routes, { allowed: /status of 404/ }, async (page) => {
      await page.click('.notices button', 'Acknowledge…');
      await page.shows('go on if they wait for that');
      await page.click('dialog button', 'Not now');
      await page.until(CLOSED);
      assert.deepEqual(routes.asked, []);
      await page.click('.notices button', 'Acknowledge…');
      await page.click('dialog .primary', 'Acknowledge');
      await page.until(`${NOTICES}.includes('Acknowledged: ps-017 runs dry. on-call is not told any more.')`);
      await page.until(`${NOTICES}.startsWith('1 open notice ')`);
      const [{ kind: what, id, verb, body }, ...others] = routes.asked;
      assert.deepEqual([what, id, verb, body], ['notices', notices[0].id, 'acknowledge', undefined]);
      assert.deepEqual(others, []);
      // Why not is told where it was asked.
      const [gone] = notices.splice(1, 1);
      await page.click('.notices button', 'Acknowledge…');
      await page.click('dialog .primary', 'Acknowledge');
      await page.until(`document.querySelector('dialog').innerText.includes('there is no notice \`${gone.id}\` here')`);
      await page.click('dialog button', 'Not now');
      await page.until(`${NOTICES}.startsWith('No open notice')`);
    });
  });

  test(`${kind}: what was is behind a button, with who knew`, { skip }, () => {
    const notices = [
      acknowledgedNotice(1), notice(2, { state: 'given-up', over: new Date().toISOString() }),
    ];
    return visit(page_, routesOf(notices, runs()), {}, async (page) => {
      await page.until(`${NOTICES} === 'No open notice History'`);
      await page.click('.notices button', 'History');
      await page.until(`${NOTICES}.includes('Acknowledged by bob 5 min ago')`);
      await page.until(`/Given up just now: nobody said for a week/.test(${NOTICES})`);
      assert.ok(!(await page.value(NOTICES)).includes('Acknowledge…'));
      await page.click('.notices button', 'Only open ones');
      await page.until(`${NOTICES} === 'No open notice History'`);
      notices.length = 0;
      await page.click('.notices button', 'History');
      await page.shows('Nobody was told anything.');
    });
  });

  test(`${kind}: who may only look acknowledges nothing`, { skip }, () => (
    visit(page_, routesOf([notice(1)], runs()), { scope: 'viewer' }, async (page) => {
      await page.until(`${NOTICES}.includes('ps-017 runs dry')`);
      assert.ok(!(await page.value(NOTICES)).includes('Acknowledge…'));
    })
  ));

  test(`${kind}: on a phone nothing scrolls sideways, and what a notice says is text`, { skip }, async () => {
    const text = `<img src=x onerror="window.struck = 1">${'long'.repeat(40)}`;
    const name = `mail ${'a'.repeat(60)}@${'b'.repeat(60)}.example`;
    const [way] = notice(1).channels;
    const long = 'a-name-that-somebody-chose-with-much-care-for-all-the-details-of-it-1';
    const channels = [{ ...way, name, failures: 2, last_error: text }];
    const change = { text, workflow: long, target: long, device: long, channels };
    const known = acknowledgedNotice(2, { ...change, acknowledged_by: long });
    const notices = [notice(1, change), known];
    for (const [dark, width] of [[false, 360], [true, 390]]) {
      await visit(page_, routesOf(notices, runs()), { width, height: 740, dark }, async (page) => {
        await page.until(`${NOTICES}.includes('onerror')`);
        await page.click('.notices button', 'History');
        await page.until(`${NOTICES}.includes('Acknowledged by')`);
        assert.equal(await page.value('document.documentElement.scrollWidth'), width);
        const cut = "[...document.querySelectorAll('.notices *')].filter("
          + '(e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 90))';
        assert.deepEqual(await page.value(cut), []);
        assert.equal(await page.value("document.querySelectorAll('main img').length"), 0);
        assert.equal(await page.value('window.struck'), undefined);
      });
    }
  });
}

/** Somebody's chat, which takes nothing until it is told to. */
async function startHook() {
  const hook = { takes: false, told: [] };
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    if (hook.takes) hook.told.push(JSON.parse(text).text);
    response.writeHead(hook.takes ? 200 : 503).end();
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const url = `http://127.0.0.1:${server.address().port}/hook`;
  return Object.assign(hook, {
    settings: `\n[notify.on-call]\nwebhook = "${url}"\n`,
    close: () => new Promise((closed) => {
      server.closeAllConnections();
      server.close(closed);
    }),
  });
}

const DRY = `workflow: dry
version: "1"
unhandled: park
errors: [worn]
input: {device: text}
signals: {acknowledged: {by: text}}
steps:
  - notify: on-call
    text: \${device} runs dry
    device: \${device}
  - wait_for: acknowledged
  - fail: worn
`;

for (const [kind, page_, startNode] of [
  ['gateway', 'workflows.html', (settings) => startGateway(undefined, settings)],
  ['hub', 'runs.html', startHub],
]) {
  test(`page and ${kind} understand each other`, { skip: skip || without }, async () => {
    const hook = await startHook();
    let node;
    try {
      node = await startNode(hook.settings);
      await node.post('v1/workflows', { definition: DRY });
      const start = { version: '1', input: { device: 'ps-1' } };
      const { run: id } = await node.post('v1/workflows/dry/runs', start);
      await open(node.url, { hash: page_, allowed: /status of 40[01]/ }, async (page) => {
        await page.type('#token', node.token);
        await page.press('Enter');
        await page.until(`${NOTICES}.startsWith('1 open notice ')`);
        await page.until(`${NOTICES}.includes('ps-1 runs dry To on-call, about ps-1, by dry, since')`);
        await page.until(`/webhook: not sent yet, failed 1 time in a row: .*503.*, the next time/.test(${NOTICES})`);
        await page.click('.notices button', 'Acknowledge…');
        await page.click('dialog .primary', 'Acknowledge');
        await page.until(`${NOTICES}.startsWith('No open notice')`);
        await page.click('.notices button', 'History');
        await page.until(`${NOTICES}.includes('Acknowledged by made by init')`);
        // The run has heard of it, went on, and is parked: it is decided about on this page.
        await page.until(`${INCIDENTS}.includes('1 run waits for a decision')`);
        await page.until(`/dry version 1.*worn/.test(${INCIDENTS})`);
        await page.click('.decisions button', 'Retry…');
        await page.click('dialog .primary', 'Retry');
        await page.until(`/Answered for dry: retry .* Now it is parked: worn/.test(${INCIDENTS})`);
        await page.until("document.querySelectorAll('.incidents .decisions').length === 1");
        await page.click('.decisions button', 'Compensate…');
        await page.click('dialog .danger-fill', 'Compensate');
        await page.until(`/Answered for dry: compensate .* Now it has failed: worn/.test(${INCIDENTS})`);
        await page.until(`${INCIDENTS}.startsWith('Nothing waits for a decision')`);
        await page.click('.incidents .told button', id.slice(-6));
        await page.until(`${PANE}.includes('compensate by made by init')`);
      });
      assert.deepEqual(hook.told, [], 'nobody was told behind the acknowledgement');
    } finally {
      await node?.close();
      await hook.close();
    }
  });
}
