// The page of runs on a hub in a browser, under the policy the services send.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fleet, hubRoutes } from './fixtures.mjs';
import { startGateway, startHub, without } from './gateway.mjs';
import { open, skip, visit } from './visit.mjs';
import {
  idOf, line, ownParkedRun, ownRun, parkedToldRun, toldRoutes, toldRun,
} from './workflows.mjs';

const PAGE = 'runs.html';
const INCIDENTS = "document.querySelector('.incidents').innerText.replace(/\\s+/g, ' ')";
const PANE = "document.querySelector('.pane').innerText.replace(/\\s+/g, ' ')";
const CLOSED = "!document.querySelector('dialog')";
const RUNS = "[...document.querySelectorAll('.runs tr.openable')].map((e) => e.innerText.replace(/\\s+/g, ' '))";
const TABS = "[...document.querySelectorAll('.tabs a')].map((e) => e.innerText + (e.ariaCurrent === 'page' ? ' here' : ''))";

const choose = (page, name, value) => page.value(`(() => {
  const field = document.querySelector('.runs [name=${name}]');
  field.value = '${value}';
  field.dispatchEvent(new Event('change', { bubbles: true }));
})()`);

test('what waits for a person on any gateway comes first, with where one decides', { skip }, () => {
  const runs = [toldRun(1, 'south/ps-001'), parkedToldRun(2, 'north/ps-004')];
  return visit(PAGE, toldRoutes(fleet(24), runs), {}, async (page, server) => {
    await page.until(`${INCIDENTS}.includes('1 run waits for a decision')`);
    const first = "document.querySelector('main section').getAttribute('aria-label')";
    assert.equal(await page.value(first), 'Incidents');
    await page.until(`${INCIDENTS}.includes('pump-dry version 1, on north/ps-004, begun')`);
    await page.until(`${INCIDENTS}.includes('unreachable: ps-017 does not answer')`);
    // The hub has no line of what waits, so all of this is from the history.
    await page.until(`${INCIDENTS}.includes('command stop of ps-017, line 5, since')`);
    await page.until(`${INCIDENTS}.includes('(20 min ago)')`);
    await page.until(`${INCIDENTS}.includes('holdfast-edge workflow decide RUN ...')`);
    runs.push(parkedToldRun(3, 'south/ps-001', { workflow: 'heaters' }));
    await page.until(`${INCIDENTS}.includes('2 runs wait for a decision')`);
    await page.click('.incidents button', 'Open');
    await page.until(`${PANE}.startsWith('heaters running parked')`);
    // Whoever is asked is told the command, and nothing here that a hub cannot do.
    await page.until(`${PANE}.includes('holdfast-edge workflow decide ${idOf(3)} retry')`);
    const words = await page.value('document.body.innerText');
    for (const word of ['Retry', 'Skip', 'Set values', 'Compensate', 'Cancel', 'Send', 'Start', 'Add']) {
      assert.ok(!words.includes(word), word);
    }
    for (const one of runs) one.waits = [];
    await page.until(`${INCIDENTS} === 'Nothing waits for a decision'`);
    assert.equal(server.count('/outline') + server.count('/v1/workflows') + server.count('counts'), 0);
  });
});

test('about the runs of the hub itself one decides here, and sees what came of it', { skip }, () => {
  const runs = [parkedToldRun(1, 'north/ps-004'), ownParkedRun(2, { workflow: 'restock' })];
  const routes = toldRoutes(fleet(24), runs);
  return visit(PAGE, routes, {}, async (page) => {
    await page.until(`${INCIDENTS}.startsWith('2 runs wait for a decision')`);
    await page.until(`${INCIDENTS}.includes('RUN ...; about those of the hub here')`);
    await page.until(`${INCIDENTS}.includes('restock version 1, on the hub, begun')`);
    // Buttons for the one, none for the other.
    await page.until("document.querySelectorAll('.incidents .decisions').length === 1");
    const own = "document.querySelector('.incidents .decisions').closest('li').innerText";
    assert.match(await page.value(own), /restock[^]*device ps-017/);
    await page.click('.decisions button', 'Retry…');
    await page.shows('It tries again where it failed, under the same key');
    await page.click('dialog button', 'Not now');
    await page.until(CLOSED);
    assert.deepEqual(routes.asked, []);
    await page.click('.decisions button', 'Retry…');
    await page.click('dialog .primary', 'Retry');
    await page.until(`${INCIDENTS}.includes('1 run waits for a decision')`);
    const body = { fiber: 3, how: 'retry' };
    const verb = 'decisions';
    assert.deepEqual(routes.asked, [{ kind: 'runs', id: idOf(2), verb, name: undefined, body }]);
    await page.until(`/Answered for restock: retry [^.]*. Now it goes on\\./.test(${INCIDENTS})`);
    // What came of it is told while it goes on, to its end.
    runs[1].waits = ownParkedRun(2).waits;
    await page.until(`${INCIDENTS}.includes('Now it is parked: unreachable: ps-017 does not answer.')`);
    Object.assign(runs[1], { state: 'failed', error: 'unreachable', waits: [] });
    await page.until(`${INCIDENTS}.includes('Now it has failed: unreachable.')`);
    await page.click('.incidents .told button', 'See');
    await page.until(`${PANE}.startsWith('restock failed') && ${PANE}.includes('retry by first administrator')`);
  });
});

test('a run of the hub opens as it does on a gateway: what it waits for, knows, and is sent', { skip }, () => {
  const runs = [ownRun(1), ownParkedRun(2, { workflow: 'restock' })];
  const routes = toldRoutes(fleet(24), runs);
  return visit(PAGE, routes, { hash: `?node=hub#run=${idOf(1)}` }, async (page) => {
    await page.until(`${INCIDENTS}.startsWith('1 run waits for a decision on the hub')`);
    await page.until(`/line 7 waits until [\\d:]+ \\(in 1\\d min\\), then does publish/.test(${PANE})`);
    await page.until(`${PANE}.includes('What it knows device ps-017')`);
    await page.click('.pane button', 'Send acknowledged…');
    await page.type('dialog [name=by]', 'ann');
    await page.click('dialog .primary', 'Send');
    await page.until(`${PANE}.includes('Answered: signal acknowledged')`);
    await page.click('.pane button', 'Cancel run…');
    await page.click('dialog .danger-fill', 'Cancel it');
    await page.until(`${PANE}.startsWith('pump-dry cancelled')`);
    await page.click('.runs tr.openable', 'restock');
    await page.until(`${PANE}.startsWith('restock running parked')`);
    await page.click('.pane .decisions button', 'Skip…');
    await page.click('dialog .danger-fill', 'Skip');
    await page.until(`${PANE}.includes('Answered: skip')`);
    const verbs = routes.asked.map(({ verb, body }) => [verb, body?.how ?? body?.by]);
    assert.deepEqual(verbs, [['signals', 'ann'], ['cancel', undefined], ['decisions', 'skip']]);
  });
});

test('a token for viewers sees what is parked on the hub and is told the command', { skip }, () => {
  const options = { scope: 'viewer', hash: `#run=${idOf(2)}` };
  return visit(PAGE, toldRoutes(fleet(24), [ownParkedRun(2)]), options, async (page) => {
    await page.until(`${INCIDENTS}.includes('command stop of ps-017, line 5, since')`);
    await page.until(`${PANE}.includes('holdfast-hub workflow decide ${idOf(2)} retry')`);
    for (const one of ['.decisions .primary', '.pane .actions button:not([aria-label=Close])']) {
      assert.equal(await page.value(`document.querySelector('${one}')`), null, one);
    }
  });
});

test('runs of all gateways by gateway, workflow, state and text, a page at a time', { skip }, () => {
  const runs = [];
  for (let i = 1; i <= 120; i += 1) {
    const [workflow, node] = [i % 2 ? 'pump-dry' : 'heaters', i % 3 ? 'north/ps-004' : 'south/ps-001'];
    runs.push(toldRun(i, node, { workflow, state: 'succeeded', by: `by-${i}.` }));
  }
  Object.assign(runs[59], { state: 'failed', error: 'unreachable' });
  const parked = parkedToldRun(121, 'south/ps-001', { by: 'by-121.' });
  return visit(PAGE, toldRoutes(fleet(24), [...runs, parked]), {}, async (page) => {
    await page.until(`${RUNS}.length === 50`);
    const columns = "[...document.querySelectorAll('.runs th')].map((e) => e.innerText).join()";
    assert.equal(await page.value(columns), 'Workflow,State,Gateway,Why,Began,By');
    assert.match((await page.value(RUNS))[0], /^pump-dry 1, …000121 running parked south\/ps-001 is parked: unre.* by-121\.$/);
    await page.click('.more button', 'Older');
    await page.until(`${RUNS}[0].includes('by-71.')`);
    // Another filter begins with the newest again.
    await choose(page, 'node', 'south/ps-001');
    await page.until(`${RUNS}.length === 41 && ${RUNS}.every((one) => one.includes('south/ps-001'))`);
    await choose(page, 'workflow', 'heaters');
    await page.until(`${RUNS}.length === 20`);
    await choose(page, 'state', 'failed');
    await page.until(`${RUNS}.length === 1 && /^heaters.* failed south\\/ps-001 unreachable .*by-60/.test(${RUNS}[0])`);
    const search = '?node=south%2Fps-001&workflow=heaters&state=failed';
    assert.equal(await page.value('location.search'), search);
    await page.type('.runs input', 'nobody');
    await page.shows('No run is like that.');
    await page.click('.runs button', 'Show all');
    await page.until(`${RUNS}.length === 50`);
    assert.equal(await page.value('location.search'), '');
    await page.type('.runs input', 'by-77.');
    await page.until(`${RUNS}.length === 1`);
    // The hub's own runs are among them, with those that wait there for room.
    const states = "[...document.querySelector('.runs [name=state]').options].map((e) => e.value)";
    const all = await page.value(states);
    assert.ok(all.includes('waiting') && all.includes('forwarded'), all.join());
    const nodes = "[...document.querySelector('.runs [name=node]').options].map((e) => e.value)";
    const names = await page.value(nodes);
    assert.ok(names.length === 26 && names.includes('hub'), names.join());
    const workflows = "[...document.querySelector('.runs [name=workflow]').options].map((e) => e.value)";
    assert.deepEqual(await page.value(workflows), ['', 'heaters', 'pump-dry'], 'all that were seen');
  });
});

test('a gateway leads to its runs, and a run to its gateway', { skip }, () => {
  const runs = [parkedToldRun(1, 'south/ps-001'), parkedToldRun(2, 'north/ps-004')];
  const routes = toldRoutes(fleet(24), runs);
  return visit('hub.html', routes, { hash: '#node=south%2Fps-001' }, async (page) => {
    await page.until(`${TABS}.join() === 'Fleet here,Runs'`);
    await page.click('.pane a', 'Runs of its workflows');
    await page.until(`${TABS}.join() === 'Fleet,Runs here'`);
    await page.until(`${RUNS}.length === 1 && ${RUNS}[0].includes('south/ps-001')`);
    await page.until(`${INCIDENTS}.includes('1 run waits for a decision on south/ps-001')`);
    assert.equal(await page.value("document.querySelector('.runs [name=node]').value"), 'south/ps-001');
    await choose(page, 'node', '');
    await page.until(`${INCIDENTS}.startsWith('2 runs wait for a decision Decide')`);
    await page.click('.runs tr.openable', 'ps-004');
    await page.click('.pane a', 'north/ps-004');
    await page.until(`${TABS}.join() === 'Fleet here,Runs' && ${PANE}.startsWith('north/ps-004')`);
  });
});

test('of a gateway that never came there are no runs to look for', { skip }, () => (
  visit('hub.html', hubRoutes(fleet(24)), { hash: '#node=hill%2Fps-023' }, async (page) => {
    await page.until(`${PANE}.includes('It has never connected')`);
    assert.equal(await page.value("document.querySelector('.pane a')"), null);
  })
));

test('a run has its gateway, why it fails, and its history as a line of time', { skip }, () => {
  const hour = 3_600_000;
  const history = [
    line(3 * hour, 'started', 'by ann'), line(2 * hour, 'done', 'effect 1', 5),
    line(hour, 'undoing', 'unreachable', 9),
  ];
  const undoing = toldRun(1, 'north/ps-004', { state: 'undoing', error: 'unreachable', history });
  return visit(PAGE, toldRoutes(fleet(24), [undoing]), { hash: `#run=${idOf(1)}` }, async (page) => {
    await page.until(`${PANE}.includes('On north/ps-004.')`);
    await page.until(`${PANE}.includes('holdfast-edge workflow show ${idOf(1)}')`);
    await page.until(`${PANE}.includes('Now It fails with unreachable.')`);
    const moments = "[...document.querySelectorAll('.timeline .moment strong')].map((e) => e.innerText)";
    assert.deepEqual(await page.value(moments), ['started', 'done', 'undoing', 'now']);
    await page.until("document.querySelectorAll('.timeline .g3').length === 3");
    // One that was parked and goes on does not fail with what it was parked for.
    undoing.state = 'running';
    await page.until(`!${PANE}.includes('unreachable.') && !${RUNS}[0].includes('unreachable')`);
    Object.assign(undoing, { state: 'failed', history: [...history, line(0, 'failed', 'unreachable')] });
    await page.until(`${PANE}.includes('failed: unreachable')`);
    assert.deepEqual(await page.value(moments), ['started', 'done', 'undoing', 'failed']);
  });
});

test('what a silent gateway did is not known, and that is said', { skip }, () => {
  const runs = [
    parkedToldRun(1, 'harbour/ps-022', { by: '' }), parkedToldRun(2, 'north/ps-004'),
    toldRun(3, 'harbour/ps-022', { state: 'succeeded' }),
  ];
  const silent = 'harbour/ps-022 is not heard since';
  return visit(PAGE, toldRoutes(fleet(24), runs), { hash: `#run=${idOf(1)}` }, async (page) => {
    await page.until(`${PANE}.includes('${silent}')`);
    await page.until(`${PANE}.includes('How it began has not come from there yet.')`);
    await page.until(`${PANE}.includes(', its last step')`);
    await page.until(`${INCIDENTS}.split('is not heard since').length === 2`);
    // What is over stays as it is.
    await page.click('.runs tr.openable', 'succeeded');
    await page.until(`${PANE}.includes('What it knew is told there')`);
    assert.ok(!(await page.value(PANE)).includes('not heard'));
  });
});

test('a gateway that is gone is named, and its name does not lead nowhere', { skip }, () => {
  const routes = toldRoutes(fleet(4), [toldRun(1, '12D3KooWGone')]);
  const options = { hash: `?node=old/gone#run=${idOf(1)}`, allowed: /status of 400/ };
  return visit(PAGE, routes, options, async (page) => {
    await page.until(`${PANE}.includes('On 12D3KooWGone.')`);
    assert.equal(await page.value("document.querySelector('.pane a')"), null);
    await page.shows('there is no node `old/gone`');
    await choose(page, 'node', '');
    await page.until(`${RUNS}.length === 1`);
  });
});

test('everything is reached by keyboard: from a tab to a run, Escape closes it', { skip }, () => (
  visit(PAGE, toldRoutes(fleet(24), [parkedToldRun(1, 'north/ps-004')]), {}, async (page) => {
    await page.until(`${RUNS}.length === 1`);
    await page.value("document.querySelector('.tabs a').focus()");
    const reached = [];
    for (let n = 0; n < 8; n += 1) {
      await page.press('Tab');
      reached.push(await page.value("(document.activeElement.ariaLabel ?? document.activeElement.className) || 'tab'"));
    }
    assert.deepEqual(reached, [
      'tab', `Open run ${idOf(1)}`, 'quiet', 'Gateway', 'Workflow', 'State', 'Filter by a text that a run knows', 'opens',
    ]);
    await page.press('Enter');
    await page.until(`document.activeElement.className === 'pane' && ${PANE}.includes('What happened')`);
    await page.press('Escape');
    await page.until("document.activeElement.className === 'opens' && !document.querySelector('.pane')");
  })
));

test('on a phone nothing scrolls sideways, however long names and texts are', { skip }, async () => {
  const long = 'a-name-that-somebody-chose-with-much-care-for-all-the-details-of-it-1';
  const image = `<img src=x onerror="window.struck = 1">${'long'.repeat(40)}`;
  const nodes = fleet(24);
  Object.assign(nodes.nodes[21], { site: long, name: long });
  const node = `${long}/${long}`;
  const waits = [{ ...parkedToldRun(1).waits[0], text: `waits for somebody to decide: ${image}` }];
  const runs = [
    parkedToldRun(1, node, { workflow: long, version: long, by: image, waits }),
    toldRun(2, node, { workflow: long, state: 'failed', error: image }),
  ];
  for (const [dark, hash] of [[false, ''], [true, `#run=${idOf(1)}`], [false, `?node=${node}#run=${idOf(2)}`]]) {
    await visit(PAGE, toldRoutes(nodes, runs), { width: 360, height: 740, dark, hash }, async (page) => {
      await page.until(`${RUNS}.length === 2 && ${INCIDENTS}.includes('not heard since')`);
      if (hash) await page.until("document.querySelector('.pane .timeline')");
      assert.equal(await page.value('document.documentElement.scrollWidth'), 360, hash);
      assert.equal(await page.value('innerWidth'), 360);
      const cut = "[...document.querySelectorAll('main li, main td, main button, main p, main select, main pre, main h2')].filter("
        + '(e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 90))';
      assert.deepEqual(await page.value(cut), []);
      if (hash) assert.ok(await page.value("document.querySelector('.pane').scrollWidth <= 360"));
      // Whatever a gateway says is text.
      assert.equal(await page.value("document.querySelectorAll('main img').length"), 0);
    });
  }
});

test('when the hub does not answer that is told, and what was known stays', { skip }, () => {
  const routes = toldRoutes(fleet(24), [parkedToldRun(1, 'north/ps-004')]);
  return visit(PAGE, routes, { allowed: /Failed to load|ERR_/ }, async (page, server) => {
    await page.until(`${INCIDENTS}.includes('ps-017 does not answer')`);
    await page.until("document.querySelector('.link').innerText === 'live'");
    server.refuse(true);
    await page.shows('No answer since');
    assert.ok((await page.value(INCIDENTS)).includes('ps-017 does not answer'));
    server.refuse(false);
    await page.until("document.querySelector('.link').innerText === 'live'");
  });
});

const GUARD = `workflow: guard
version: "1"
unhandled: park
input: {device: text}
signals: {acknowledged: {by: text}}
steps:
  - let: {level: "reading(device, 'level')"}
  - wait_for: acknowledged
`;

test('page, hub and gateway understand each other', { skip: skip || without }, async () => {
  const hub = await startHub();
  let gateway;
  try {
    const { invitation } = await hub.post('v1/enrolments', { site: 'north', name: 'ps-017' });
    gateway = await startGateway(invitation);
    await gateway.post('v1/workflows', { definition: GUARD });
    const start = { version: '1', input: { device: 'ps-1' } };
    const { run } = await gateway.post('v1/workflows/guard/runs', start);
    await open(hub.url, { hash: PAGE, allowed: /status of 40[01]/ }, async (page) => {
      await page.type('#token', hub.token);
      await page.press('Enter');
      await page.until(`${INCIDENTS}.includes('1 run waits for a decision')`);
      await page.until(`/guard version 1, on north\\/ps-017, begun .* by made by init/.test(${INCIDENTS})`);
      await page.until(`/missing.* line 7, since/.test(${INCIDENTS})`);
      await page.until(`${RUNS}.length === 1 && ${RUNS}[0].includes('north/ps-017')`);
      await page.click('.incidents button', 'Open');
      await page.until(`${PANE}.includes('On north/ps-017.')`);
      // What the page says is done, word by word.
      await gateway.measure('ps-1', 'level', 2.5);
      const [program, ...words] = (await page.value("document.querySelector('.pane pre').innerText")).split(' ');
      assert.deepEqual([program, ...words], ['holdfast-edge', 'workflow', 'decide', run, 'retry']);
      await gateway.command(...words);
      await page.until(`${INCIDENTS} === 'Nothing waits for a decision'`);
      await page.until(`/decided line 7 retry by/.test(${PANE})`);
      assert.ok(!(await page.value(PANE)).includes('It fails'));
      await page.click('.tabs a', 'Fleet');
      await page.until(`!location.pathname.endsWith('${PAGE}')`);
      await page.click('tr.openable', 'ps-017');
      await page.click('.pane a', 'Runs of its workflows');
      await page.until(`${RUNS}.length === 1 && ${RUNS}[0].startsWith('guard')`);
      for (const [name, value] of [['workflow', 'guard'], ['state', 'running']]) await choose(page, name, value);
      await page.type('.runs input', 'MADE BY');
      await page.until("location.search === '?node=north%2Fps-017&workflow=guard&state=running&q=MADE+BY'");
      await page.until(`${RUNS}.length === 1`);
      await page.click('.runs tr.openable', 'guard');
      await gateway.post(`v1/runs/${run}/signals/acknowledged`, { by: 'ann' });
      await page.until("document.querySelector('.pane .badge').innerText === 'succeeded'");
      await page.shows('No run is like that.');
      await page.click('.runs button', 'Show all');
      await page.until(`${RUNS}.length === 1`);
    });
  } finally {
    await gateway?.close();
    await hub.close();
  }
});
