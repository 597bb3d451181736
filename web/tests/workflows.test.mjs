// The page of workflows in a browser, under the policy the services send.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startGateway, without } from './gateway.mjs';
import { open, skip, visit } from './visit.mjs';
import { OUTLINE, flow, idOf, line, parkedRun, run, wait, workflowRoutes } from './workflows.mjs';

const PAGE = 'workflows.html';
const WIDTHS = 'document.documentElement.scrollWidth <= innerWidth';
const INCIDENTS = "document.querySelector('.incidents').innerText";
const PANE = "document.querySelector('.pane').innerText";
const RUNS = "[...document.querySelectorAll('.runs tr.openable')].map((e) => e.innerText)";
const CLOSED = "!document.querySelector('dialog')";

test('what waits for a person comes first, with why and since when', { skip }, () => {
  const runs = [run(1), parkedRun(2)];
  return visit(PAGE, workflowRoutes([flow('pump-dry')], runs), {}, async (page) => {
    await page.until(`${INCIDENTS}.includes('1 run waits for a decision')`);
    await page.until(`${INCIDENTS}.includes('unreachable: ps-017 does not answer')`);
    // Since it was parked, not since its last step, which another part of it did.
    await page.until(`${INCIDENTS}.includes('(20 min ago)')`);
    await page.until(`${INCIDENTS}.includes('command stop of ps-017, line 5')`);
    await page.until(`/device ps-017/.test(${INCIDENTS})`);
    const first = "document.querySelector('main section').getAttribute('aria-label')";
    assert.equal(await page.value(first), 'Incidents');
    runs.push(parkedRun(3, { workflow: 'heaters' }));
    await page.until(`${INCIDENTS}.includes('2 runs wait for a decision')`);
  });
});

for (const [word, how] of [['Retry', 'retry'], ['Skip', 'skip'], ['Compensate', 'compensate']]) {
  test(`${how}: asked back, told to the part that is parked, and shown`, { skip }, () => {
    const routes = workflowRoutes([flow('pump-dry')], [parkedRun(2)]);
    return visit(PAGE, routes, {}, async (page) => {
      await page.click('.decisions button', `${word}…`);
      await page.click('dialog button', 'Not now');
      await page.until(CLOSED);
      assert.deepEqual(routes.asked, []);
      await page.click('.decisions button', `${word}…`);
      await page.click('dialog .row button:last-child', word);
      await page.until(`${INCIDENTS}.includes('Nothing waits for a decision')`);
      await page.until(`${INCIDENTS}.includes('Answered for pump-dry: ${how}')`);
      const body = { fiber: 0, how };
      const verb = 'decisions';
      assert.deepEqual(routes.asked, [{ kind: 'runs', id: idOf(2), verb, name: undefined, body }]);
      await page.click('.incidents .told button', 'See');
      await page.until(`${PANE}.includes('${how} by first administrator')`);
    });
  });
}

test('a run is cancelled from where it is parked, after it was asked back', { skip }, () => {
  const routes = workflowRoutes([flow('pump-dry')], [parkedRun(2)]);
  return visit(PAGE, routes, {}, async (page) => {
    await page.click('.decisions button', 'Cancel run…');
    await page.shows('what it did so far is undone');
    await page.click('dialog button', 'Cancel it');
    await page.until(`${INCIDENTS}.includes('Nothing waits for a decision')`);
    assert.deepEqual(routes.asked.map(({ verb, body }) => [verb, body]), [['cancel', undefined]]);
    await page.until(`${RUNS}[0].includes('cancelled')`);
  });
});

test('set sends what was changed with its type; what is typed stays while news come', { skip }, () => {
  const runs = [parkedRun(2, { variables: { device: 'ps-017', level: 0.25, dry: false, n: 3 } })];
  const routes = workflowRoutes([flow('pump-dry')], runs);
  return visit(PAGE, routes, {}, async (page) => {
    await page.click('.decisions button', 'Set values…');
    await page.type('dialog [name=level]', '2.5');
    runs[0].variables.n = 4;
    runs[0].stepped = new Date().toISOString();
    await page.until(`${INCIDENTS}.includes('n 4')`);
    assert.equal(await page.value("document.querySelector('[name=level]').value"), '2.5');
    await page.value("document.querySelector('dialog [name=dry]').value = 'true'");
    await page.click('dialog button', 'Set');
    await page.until(`${INCIDENTS}.includes('Answered for pump-dry: set level, dry')`);
    assert.deepEqual(routes.asked[0].body, { fiber: 0, how: 'set', values: { level: 2.5, dry: true } });
    // It stays parked, with the decision before it.
    await page.until(`${INCIDENTS}.includes('Decided before: set by first administrator')`);
    await page.until(`${INCIDENTS}.includes('level 2.5')`);
  });
});

test('why the node refuses an answer is told where it was given', { skip }, () => {
  const routes = workflowRoutes([flow('pump-dry')], [parkedRun(2, { stubborn: true })]);
  return visit(PAGE, routes, { allowed: /status of 409/ }, async (page) => {
    await page.click('.decisions button', 'Skip…');
    await page.click('dialog .danger-fill', 'Skip');
    await page.until("document.querySelector('dialog').innerText.includes('nothing of it is parked')");
    await page.click('dialog button', 'Not now');
    await page.until(CLOSED);
    assert.ok(!(await page.value(INCIDENTS)).includes('Answered'));
  });
});

test('of two parts that are parked each has its own answers', { skip }, () => {
  const parked = (fiber, at) => wait({
    fiber, line: at, for: 'decision', until: null, text: `waits for somebody to decide: late ${fiber}`,
  });
  const routes = workflowRoutes([flow('pump-dry')], [parkedRun(2, { waits: [parked(1, 5), parked(4, 8)] })]);
  return visit(PAGE, routes, {}, async (page) => {
    await page.until("document.querySelectorAll('.parked').length === 2");
    const second = "[...document.querySelectorAll('.parked')][1].querySelector('.primary').click()";
    await page.value(second);
    await page.click('dialog .primary', 'Retry');
    await page.until(CLOSED);
    assert.deepEqual(routes.asked[0].body, { fiber: 4, how: 'retry' });
  });
});

test('what is installed: how many run, wait and are parked; disabled and enabled', { skip }, () => {
  const room = wait({ for: 'room', line: null, until: null, text: 'waits until others are over' });
  const runs = [parkedRun(1), run(2), run(3, { state: 'waiting', waits: [room], history: [] })];
  const flows = [flow('pump-dry', { title: 'The pump ran dry' }), flow('heaters', { enabled: false })];
  return visit(PAGE, workflowRoutes(flows, runs), {}, async (page, server) => {
    const rows = "[...document.querySelectorAll('.flows tbody tr')].map((e) => e.innerText)";
    await page.until(`/pump-dry\\s+The pump ran dry\\s+enabled\\s+1\\s+2\\s+1\\s+1/.test(${rows}[0])`);
    await page.until(`${rows}[1].includes('disabled')`);
    await page.click('.flows tr.openable', 'heaters');
    await page.click('.pane button', 'Enable…');
    await page.click('dialog .primary', 'Enable');
    await page.until("document.querySelector('.pane .badge').innerText === 'enabled'");
    assert.equal(server.count('PATCH /v1/workflows/heaters/1'), 1);
    await page.click('.pane button', 'Disable…');
    await page.click('dialog button', 'Leave it');
    await page.until(CLOSED);
    assert.equal(flows[1].enabled, true);
  });
});

test('a workflow is removed when that is confirmed, or it is told why not', { skip }, () => {
  const flows = [flow('pump-dry'), flow('heaters')];
  const options = { allowed: /status of 409/, hash: '#workflow=pump-dry&version=1' };
  return visit(PAGE, workflowRoutes(flows, [run(1)]), options, async (page) => {
    await page.click('.pane button', 'Remove…');
    await page.click('dialog .danger-fill', 'Remove it');
    await page.until("document.querySelector('dialog').innerText.includes('runs are under way')");
    await page.click('dialog button', 'Keep it');
    await page.until(CLOSED);
    await page.click('.flows tr.openable', 'heaters');
    await page.until(`${PANE}.includes('heaters')`);
    await page.click('.pane button', 'Remove…');
    await page.click('dialog .danger-fill', 'Remove it');
    await page.until("!document.querySelector('.pane')");
    await page.until("document.querySelectorAll('.flows tbody tr').length === 1");
    assert.deepEqual(flows.map(({ id }) => id), ['pump-dry']);
  });
});

test('the outline counts how many runs stand at each step, now', { skip }, () => {
  const outline = structuredClone(OUTLINE);
  const routes = workflowRoutes([flow('pump-dry')], [parkedRun(1), run(2), run(3)]);
  routes['GET /v1/workflows/pump-dry/1/outline'] = () => outline;
  return visit(PAGE, routes, { hash: '#workflow=pump-dry&version=1' }, async (page) => {
    const steps = "[...document.querySelectorAll('.outline li')].map((e) => e.innerText.replace(/\\s+/g, ' '))";
    await page.until(`${steps}.length === 5`);
    assert.deepEqual((await page.value(steps)).slice(0, 4), [
      '5 does command device=${device} name=stop; timeout 30s 1 parked',
      '9 does command device=${device} name=start', '7 waits for 10m 2 here',
      '8 does publish topic=pumps/${device}/state',
    ]);
    const indents = "[...document.querySelectorAll('.outline .does')].map((e) => getComputedStyle(e).paddingLeft)";
    assert.deepEqual((await page.value(indents)).slice(0, 3), ['0px', '14px', '0px']);
    await page.until("document.querySelector('.outline .stands').classList.contains('alarm')");
    outline.lines[2].counts.waiting = 1234;
    await page.until(`${steps}[2] === '7 waits for 10m 1234 here'`);
    await page.click('summary', 'What holds for all of it');
    await page.shows('any, at most 1 at once, then queue');
  });
});

test('a run is started with what its form was given, and opens', { skip }, () => {
  const routes = workflowRoutes([flow('pump-dry')]);
  const options = { hash: '#workflow=pump-dry&version=1', allowed: /status of 422/ };
  return visit(PAGE, routes, options, async (page) => {
    await page.click('.pane button', 'Start…');
    await page.type('dialog [name=device]', 'nowhere');
    await page.click('dialog .primary', 'Start');
    await page.until("document.querySelector('dialog').innerText.includes('is not known')");
    await page.type('dialog [name=device]', 'ps-017');
    await page.type('dialog [name=rounds]', '-4');
    await page.value("document.querySelector('dialog [name=alarm]').value = 'false'");
    await page.click('dialog .primary', 'Start');
    await page.until(`${PANE}.includes('What happened')`);
    // What was left empty is the node's to fill in.
    const input = { device: 'ps-017', rounds: -4, alarm: false };
    assert.deepEqual(routes.asked.at(-1).body, { version: '1', input });
    await page.until("document.querySelectorAll('.runs tr.openable.opened').length === 1");
  });
});

test('what is needed and not given does not leave the browser', { skip }, () => {
  const routes = workflowRoutes([flow('pump-dry')]);
  return visit(PAGE, routes, { hash: '#workflow=pump-dry&version=1' }, async (page) => {
    await page.click('.pane button', 'Start…');
    await page.click('dialog .primary', 'Start');
    await page.until("document.querySelector('dialog [name=device]:invalid')");
    assert.deepEqual(routes.asked, []);
  });
});

test('faults of a definition stand beside it and lead to their place', { skip }, () => {
  const routes = workflowRoutes([flow('pump-dry')]);
  return visit(PAGE, routes, { allowed: /status of 422/ }, async (page) => {
    await page.click('.flows button', 'Add…');
    const wrong = 'workflow: added\nversion: 7\nsteps:\n  - command: stop\n    timeuot: 30s\n';
    await page.type('[name=definition]', wrong);
    await page.click('.pane button', 'Install');
    await page.until(`${PANE}.includes('Not installed: 2 faults')`);
    await page.until(`${PANE}.includes('2:10 expected a text')`);
    await page.until(`${PANE}.includes('put it in quotes')`);
    const marked = "[...document.querySelectorAll('.numbers .bad')].map((e) => e.innerText)";
    assert.deepEqual(await page.value(marked), ['2', '4']);
    await page.click('.fault', 'timeuot');
    const at = "document.querySelector('[name=definition]').selectionStart";
    assert.equal(await page.value(at), wrong.indexOf('- command') + 2);
    await page.type('[name=definition]', wrong.replace('timeuot', 'timeout'));
    await page.until(`${marked}.length === 0`);
    await page.click('.pane button', 'Install');
    await page.until(`${PANE}.includes('Installed added version 7')`);
    await page.until(`${PANE}.includes('is never read')`);
    await page.shows('2 workflows');
    await page.click('.faults button', 'Open it');
    await page.until(`${PANE}.includes('What it does')`);
  });
});

test('a definition that was begun is still there when the pane was closed', { skip }, () => (
  visit(PAGE, workflowRoutes([]), {}, async (page) => {
    await page.click('.flows button', 'Add…');
    await page.type('[name=definition]', 'workflow: begun');
    await page.press('Escape');
    await page.until("!document.querySelector('.pane')");
    await page.click('.flows button', 'Add…');
    await page.until("document.querySelector('[name=definition]').value === 'workflow: begun'");
  })
));

test('a definition comes from a file as well', { skip }, () => {
  const routes = workflowRoutes([]);
  return visit(PAGE, routes, { hash: '#add=1' }, async (page) => {
    await page.until("document.querySelector('[type=file]')");
    await page.value(`(() => {
      const files = new DataTransfer();
      files.items.add(new File(['workflow: added'], 'a.yaml'));
      const input = document.querySelector('[type=file]');
      input.files = files.files;
      input.dispatchEvent(new Event('change', { bubbles: true }));
    })()`);
    await page.until("document.querySelector('[name=definition]').value === 'workflow: added'");
    await page.click('.pane button', 'Install');
    await page.until(`${PANE}.includes('Installed added')`);
    assert.deepEqual(routes.asked, [{ definition: 'workflow: added' }]);
  });
});

test('runs by workflow, state and text, the newest first, a page at a time', { skip }, () => {
  const runs = [];
  for (let i = 1; i <= 120; i += 1) {
    const workflow = i % 2 ? 'pump-dry' : 'heaters';
    const device = `ps-${String(i).padStart(3, '0')}`;
    runs.push(run(i, { workflow, state: 'succeeded', waits: [], by: `by-${i}.`, variables: { device } }));
  }
  const flows = [flow('pump-dry'), flow('heaters')];
  return visit(PAGE, workflowRoutes(flows, runs), {}, async (page) => {
    await page.until(`${RUNS}.length === 50 && ${RUNS}[0].includes('by-120.')`);
    await page.click('.more button', 'Older');
    await page.until(`${RUNS}[0].includes('by-70.')`);
    await page.click('.more button', 'Older');
    await page.until(`${RUNS}.length === 20`);
    assert.ok(!(await page.value("document.querySelector('.runs').innerText")).includes('Older'));
    await page.click('.more button', 'Newest');
    await page.until(`${RUNS}[0].includes('by-120.')`);
    const choose = (name, value) => page.value(`(() => {
      const field = document.querySelector('.runs [name=${name}]');
      field.value = '${value}';
      field.dispatchEvent(new Event('change', { bubbles: true }));
    })()`);
    await choose('workflow', 'pump-dry');
    await page.until(`${RUNS}[0].includes('by-119.')`);
    await page.type('.runs input', 'ps-077');
    await page.until(`${RUNS}.length === 1 && ${RUNS}[0].includes('by-77.')`);
    assert.equal(await page.value('location.search'), '?workflow=pump-dry&q=ps-077');
    await choose('state', 'failed');
    await page.shows('No run is like that.');
    await page.click('.runs button', 'Show all');
    await page.until(`${RUNS}.length === 50`);
    runs.push(run(200, { by: 'by-200.' }));
    await page.until(`${RUNS}[0].includes('by-200.')`);
  });
});

test('a run says for what it waits, until when, and what comes then', { skip }, () => {
  const soon = (ms) => new Date(Date.now() + ms + 900).toISOString();
  const waits = [
    wait({ text: 'waits for `acknowledged`, else fails with timeout', for: 'signal', until: soon(480_000) }),
    wait({ fiber: 1, line: 5, for: 'effect', text: 'waits for a `command` to be done', until: null }),
  ];
  const runs = [run(1, { waits })];
  return visit(PAGE, workflowRoutes([flow('pump-dry')], runs), { hash: `#run=${idOf(1)}` }, async (page) => {
    const said = "[...document.querySelectorAll('.pane .waits li')].map((e) => e.innerText.replace(/\\s+/g, ' '))";
    await page.until(`${said}.length === 2 && ${said}[1].includes('then')`);
    const [signal, effect] = await page.value(said);
    assert.match(signal, /^line 7 waits for acknowledged until [\d:]+ \(in [78] min\), else fails with timeout, then does publish/);
    assert.equal(effect, 'line 5 waits for a command to be done, then waits for 10m');
    await page.until(`/device\\s+ps-017\\s+level\\s+0.25/.test(${PANE})`);
    await page.click('.pane summary', 'Where it is in its workflow');
    await page.until("document.querySelectorAll('.pane .outline .stands').length === 2");
    runs[0].waits = [wait({ until: soon(60_000) })];
    await page.until(`${said}.length === 1 && ${said}[0].startsWith('line 7 waits until')`);
  });
});

test('the history is a line of time on which one sees the time that passed', { skip }, () => {
  const hour = 3_600_000;
  const history = [
    line(30 * hour, 'started', 'by ann'),
    line(30 * hour - 100, 'asked', 'effect 1: command stop of ps-017', 5),
    line(30 * hour - 12_100, 'done', 'effect 1', 5),
    line(2 * hour, 'signal', 'acknowledged from ann'),
  ];
  const until = new Date(Date.now() + 12 * 60_000 + 55_000).toISOString();
  const routes = workflowRoutes([flow('pump-dry')], [run(1, { history, waits: [wait({ until })] })]);
  return visit(PAGE, routes, { hash: `#run=${idOf(1)}` }, async (page) => {
    const all = "[...document.querySelectorAll('.timeline li')]";
    await page.until(`${all}.length === 10`);
    const words = await page.value(`${all}.map((e) => e.innerText.replace(/\\s+/g, ' ').replace(/^20\\S+ \\S+ /, ''))`);
    assert.deepEqual(words.slice(0, 7), [
      'started by ann', 'asked line 5 effect 1: command stop of ps-017', '12 s later',
      'done line 5 effect 1', '1 d 3 h later', 'signal acknowledged from ann', '2 h so far',
    ]);
    assert.deepEqual(words.slice(7), ['now', 'in 12 min', 'at the latest line 7 waits']);
    const heights = await page.value(`${all}.filter((e) => e.className.includes('gap')).map((e) => e.offsetHeight)`);
    assert.ok(heights[1] > heights[2] && heights[2] > heights[3] && heights[3] > heights[0], heights);
  });
});

test('of a run that is not there that is told, and it is not asked for again', { skip }, () => {
  const options = { hash: `#run=${idOf(77)}`, allowed: /status of 404/ };
  return visit(PAGE, workflowRoutes([flow('pump-dry')]), options, async (page, server) => {
    await page.until(`${PANE}.includes('there is no GET /v1/runs/${idOf(77)}')`);
    const listed = server.count('GET /v1/runs?limit');
    while (server.count('GET /v1/runs?limit') < listed + 1) {
      await page.value('new Promise((next) => setTimeout(next, 50))');
    }
    assert.equal(server.count(`GET /v1/runs/${idOf(77)}`), 1);
  });
});

test('a signal is sent with what it brings, and a run cancelled from its page', { skip }, () => {
  const routes = workflowRoutes([flow('pump-dry')], [run(1)]);
  return visit(PAGE, routes, { hash: `#run=${idOf(1)}` }, async (page) => {
    await page.click('.pane button', 'Send acknowledged…');
    await page.shows('It does not wait for that now');
    await page.type('dialog [name=by]', 'ann');
    await page.click('dialog .primary', 'Send');
    await page.until(`${PANE}.includes('acknowledged from ann')`);
    const { verb, name, body } = routes.asked[0];
    assert.deepEqual([verb, name, body], ['signals', 'acknowledged', { by: 'ann' }]);
    await page.click('.pane button', 'Cancel run…');
    await page.click('dialog button', 'Let it go on');
    await page.until(CLOSED);
    assert.equal(routes.asked.length, 1);
    await page.click('.pane button', 'Cancel run…');
    await page.click('dialog button', 'Cancel it');
    await page.until("document.querySelector('.pane .badge').innerText === 'cancelled'");
    // It is over: nothing more is to be told to it.
    await page.until("document.querySelectorAll('.pane .actions button:not([aria-label=Close])').length === 0");
  });
});

test('who may only look is offered nothing else', { skip }, async () => {
  for (const hash of [`#run=${idOf(2)}`, '#workflow=pump-dry&version=1', '#add=1']) {
    const routes = workflowRoutes([flow('pump-dry')], [parkedRun(1), run(2)]);
    await visit(PAGE, routes, { scope: 'viewer', hash }, async (page) => {
      await page.until(`${INCIDENTS}.includes('ps-017 does not answer')`);
      await page.shows('1 workflow');
      if (hash !== '#add=1') await page.until("document.querySelector('.pane .outline')");
      const words = await page.value('document.body.innerText');
      for (const word of ['Retry', 'Skip', 'Set values', 'Cancel', 'Add…', 'Start', 'Disable', 'Remove', 'Send', 'Install…']) {
        assert.ok(!words.includes(word), `${hash}: ${word}`);
      }
    });
  }
});

test('whatever a definition, a device or a person says is text', { skip }, () => {
  const image = '<img src=x onerror="window.struck = 1">';
  const runs = [parkedRun(1, {
    by: image, variables: { [image]: image }, workflow: image, error: image,
    waits: [wait({ for: 'decision', line: 5, text: `waits for somebody to decide: ${image} \`${image}\`` })],
    history: [line(1_000, 'parked', image, 5)],
  })];
  const routes = workflowRoutes([flow(image, { title: image })], runs);
  routes['GET *'] = (url) => (url.pathname.includes('/outline') ? {
    ...OUTLINE, title: image, head: [{ name: image, text: image }],
    lines: [{ ...OUTLINE.lines[0], text: image }],
  } : runs[0]);
  return visit(PAGE, routes, { hash: `#run=${idOf(1)}` }, async (page) => {
    await page.until(`${PANE}.includes('onerror')`);
    await page.click('.flows tr.openable', 'onerror');
    await page.until("document.querySelector('.pane .outline').innerText.includes('onerror')");
    assert.equal(await page.value("document.querySelectorAll('main img').length"), 0);
    assert.equal(await page.value('window.struck'), undefined);
  });
});

test('news do not take the focus, and an answer that stays the same draws nothing anew', { skip }, () => {
  const runs = [parkedRun(2), run(1)];
  return visit(PAGE, workflowRoutes([flow('pump-dry')], runs), {}, async (page, server) => {
    await page.until(`${INCIDENTS}.includes('command stop of ps-017')`);
    await page.value("document.querySelector('.decisions .primary').focus()");
    await page.value("window.kept = [...document.querySelectorAll('.incidents li, .flows tr, .runs tr')]");
    await page.value(`(() => {
      window.removed = 0;
      const watch = new MutationObserver((all) => {
        for (const one of all) window.removed += one.removedNodes.length;
      });
      watch.observe(document.querySelector('.lists'), { childList: true, subtree: true });
    })()`);
    const before = server.count('GET /v1/runs?state=parked');
    while (server.count('GET /v1/runs?state=parked') < before + 2) {
      await page.value('new Promise((next) => setTimeout(next, 50))');
    }
    assert.equal(await page.value('window.kept.every((e) => e.isConnected)'), true);
    assert.equal(await page.value('window.removed'), 0);
    assert.ok((await page.value('document.activeElement.innerText')).includes('Retry'));
  });
});

test('everything is reached by keyboard: a run opens, Escape closes it', { skip }, () => (
  visit(PAGE, workflowRoutes([flow('pump-dry')], [parkedRun(1)]), {}, async (page) => {
    await page.until(`${RUNS}.length === 1`);
    await page.value("document.querySelector('.runs .opens').focus()");
    await page.press('Enter');
    await page.until(`${PANE}.includes('What happened')`);
    await page.press('Escape');
    await page.until("!document.querySelector('.pane')");
    assert.ok((await page.value('document.activeElement.innerText')).includes('pump-dry'));
    // What looks like a button and is a file field takes the focus, too.
    await page.click('.flows button', 'Add…');
    await page.until("document.querySelector('[type=file]').tabIndex === 0");
    await page.value("document.querySelector('[type=file]').focus()");
    assert.equal(await page.value("document.activeElement.type"), 'file');
  })
));

test('on a phone nothing scrolls sideways, however long names and texts are', { skip }, async () => {
  const long = 'a-name-that-somebody-chose-with-much-care-for-all-the-details-of-it-1';
  const text = `${'long'.repeat(40)} and with spaces, too`;
  const runs = [
    parkedRun(1, { workflow: long, by: long, variables: { [long]: text } }),
    run(2, { workflow: long, by: long, error: long, waits: [wait({ for: 'signal', text })] }),
  ];
  const deep = Array.from({ length: 14 }, (_, depth) => (
    { ...OUTLINE.lines[0], depth, text: `does ${text}`, counts: { waiting: 9_999, parked: 7 } }
  ));
  for (const [dark, hash] of [[false, ''], [true, ''], [false, `#run=${idOf(1)}`], [true, `#workflow=${long}&version=1`], [false, '#add=1']]) {
    const routes = workflowRoutes([flow(long, { title: text.slice(0, 64) })], runs);
    routes[`GET /v1/workflows/${long}/1/outline`] = () => ({ ...OUTLINE, lines: deep });
    await visit(PAGE, routes, { width: 360, height: 740, dark, hash }, async (page) => {
      await page.until(`${INCIDENTS}.includes('Retry')`);
      await page.until(`${RUNS}.length === 2`);
      if (hash) await page.until("document.querySelector('.pane .outline, .pane .numbered')");
      assert.ok(await page.value(WIDTHS), `${hash}: ${await page.value('document.documentElement.scrollWidth')}`);
      assert.equal(await page.value('innerWidth'), 360);
      const cut = "[...document.querySelectorAll('main li, main td, main button, main p, main select')].filter("
        + '(e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 90))';
      assert.deepEqual(await page.value(cut), []);
      if (hash) assert.ok(await page.value("document.querySelector('.pane').scrollWidth <= 360"));
    });
  }
});

test('when the node does not answer that is told, and what was known stays', { skip }, () => (
  visit(PAGE, workflowRoutes([flow('pump-dry')], [parkedRun(1)]), { allowed: /Failed to load|ERR_/ }, async (page, server) => {
    await page.until(`${INCIDENTS}.includes('ps-017 does not answer')`);
    server.refuse(true);
    await page.shows('No answer since');
    assert.ok((await page.value(INCIDENTS)).includes('ps-017 does not answer'));
    server.refuse(false);
    await page.until("document.querySelector('.link').innerText === 'live'");
  })
));

const GUARD = `workflow: guard
version: "1"
title: What guards the pump
unhandled: park
input: {device: text, at_most: {type: decimal, default: 2.5}}
signals: {acknowledged: {by: text}}
steps:
  - let: {level: "reading(device, 'level')"}
  - wait_for: acknowledged
    within: 15m
  - set: {device: "\${device}", path: pump/mode, value: "off"}
`;

test('page and gateway understand each other', { skip: skip || without }, async () => {
  const gateway = await startGateway();
  const options = { hash: PAGE, allowed: /status of 4(00|01|04|09|22)/ };
  try {
    await open(gateway.url, options, async (page) => {
      await page.type('#token', gateway.token);
      await page.press('Enter');
      await page.shows('No workflow is installed.');
      await page.shows('Nothing waits for a decision');
      await page.click('.flows button', 'Add…');
      await page.type('[name=definition]', GUARD.replace('within', 'wihtin'));
      await page.click('.pane button', 'Install');
      await page.until(`${PANE}.includes('10:5 unknown key wihtin')`);
      await page.type('[name=definition]', GUARD);
      await page.click('.pane button', 'Install');
      await page.until(`${PANE}.includes('Installed guard version 1')`);
      await page.click('.faults button', 'Open it');
      await page.until(`${PANE}.includes('waits for signal acknowledged, within 15m')`);
      await page.click('.pane button', 'Start…');
      await page.type('dialog [name=device]', 'ps-017');
      await page.click('dialog .primary', 'Start');
      // No reading of it is there, so it is parked before it waits.
      await page.until(`${INCIDENTS}.includes('1 run waits for a decision')`);
      await page.until(`${INCIDENTS}.includes('missing')`);
      await page.until(`/device ps-017/.test(${INCIDENTS})`);
      await page.until(`/is parked, behind it\\s+waits for signal acknowledged/.test(${PANE})`);
      await page.click('.incidents button', 'Set values…');
      await page.type('dialog [name=at_most]', '0.5');
      await page.click('dialog .primary', 'Set');
      await page.until(`${INCIDENTS}.includes('Answered for guard: set at_most')`);
      await page.until(`/at_most\\s+0.5/.test(${PANE})`);
      await page.click('.flows tr.openable', 'guard');
      await page.until("document.querySelector('.outline .stands.alarm').innerText.includes('1 parked')");
      await gateway.measure('ps-017', 'level', 0.2);
      await page.click('.incidents button', 'Retry…');
      await page.click('dialog .primary', 'Retry');
      await page.until(`${INCIDENTS}.includes('Nothing waits for a decision')`);
      const stands = "document.querySelector('.outline .stands:not(.alarm)').innerText";
      await page.until(`/signal acknowledged[^]*1 here/.test(${stands})`);
      // Only one at a time: the next one waits for room, and is found by what it is given.
      await page.click('.pane button', 'Start…');
      await page.type('dialog [name=device]', 'Ps-099');
      await page.click('dialog .primary', 'Start');
      await page.until(`${PANE}.includes('waits until others of its workflow are over')`);
      await page.until("/enabled\\s+1\\s+1\\s+1\\s*$/.test(document.querySelector('.flows').innerText)");
      await page.type('.runs input', 'ps-099');
      await page.until(`${RUNS}.length === 1 && ${RUNS}[0].includes('waiting')`);
      await page.click('.pane button', 'Cancel run…');
      await page.click('dialog button', 'Cancel it');
      await page.shows('No run is like that.');
      await page.click('.flows tr.openable', 'guard');
      await page.click('.pane button', 'Remove…');
      await page.click('dialog .danger-fill', 'Remove it');
      await page.until("document.querySelector('dialog').innerText.includes('under way or wait')");
      await page.click('dialog button', 'Keep it');
      await page.until(CLOSED);
      await page.type('.runs input', 'PS-017');
      await page.until(`${RUNS}.length === 1`);
      await page.type('.runs input', 'ps-018');
      await page.shows('No run is like that.');
      await page.type('.runs input', 'made by init');
      await page.until(`${RUNS}.length === 1`);
      await page.click('.runs tr.openable', 'guard');
      await page.until(`/waits for acknowledged until [\\d:]+ \\(in 1\\d min\\), else fails with timeout, then/.test(${PANE}.replace(/\\s+/g, ' '))`);
      await page.click('.pane button', 'Send acknowledged…');
      await page.shows('It waits for that now.');
      await page.type('dialog [name=by]', 'ann');
      await page.click('dialog .primary', 'Send');
      await page.until("document.querySelector('.pane .badge').innerText === 'succeeded'");
      await page.until(`${PANE}.includes('retry by')`);
      await page.until("document.querySelectorAll('.timeline .moment').length > 5");
    });
  } finally {
    await gateway.close();
  }
});
