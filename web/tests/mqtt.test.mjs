// The page of the broker in a browser, under the policy the services send.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENTS, brokerRoutes, client, message, retained, site } from './broker.mjs';
import { edgeRoutes } from './fixtures.mjs';
import { connectClient, startGateway, without } from './gateway.mjs';
import { open, skip, visit } from './visit.mjs';

const MQTT = 'mqtt.html';
const LIVE = "document.querySelector('.topics .link').innerText === 'live'";
const LINE = (text) => (
  `[...document.querySelectorAll('.tree li')].find((e) => e.innerText.includes(${JSON.stringify(text)}))`
);
const WIDTHS = 'document.documentElement.scrollWidth <= innerWidth';
/** The browser's own word on a stream that was cut. */
const CUT = /INCOMPLETE_CHUNKED_ENCODING/;

/** Opens the page and waits until messages are listened to. */
const watching = (routes, options, use) => visit(MQTT, routes, options, async (page, server) => {
  await page.until(LIVE);
  await use(page, server, (...all) => all.forEach((one) => server.send('message', one, EVENTS)));
});

test('the pages of a gateway lead to one another', { skip }, () => (
  visit('edge.html', { ...edgeRoutes(), ...brokerRoutes() }, {}, async (page) => {
    await page.shows('Connected');
    await page.click('.tabs a', 'MQTT');
    await page.shows('199 connected');
    assert.equal(await page.value("document.querySelector('[aria-current]').innerText"), 'MQTT');
    await page.click('.tabs a', 'Site');
    await page.shows('4 devices, 24 series');
  })
));

test('a message shows as it comes, with its age, below the levels of its topic', { skip }, () => (
  watching(brokerRoutes(), {}, async (page, server, send) => {
    await page.shows('a message shows here as it comes');
    send(message('site/hall/temp', '21.5'), message('site/hall/door', 'shut', { qos: 1 }));
    await page.until(`${LINE('temp')}.innerText.includes('21.5')`);
    await page.until(`${LINE('hall')}.innerText.includes('2 topics, 2 msg')`);
    await page.until(`/just now|s ago/.test(${LINE('door')}.innerText)`);
    send(message('site/hall/temp', '22.0'));
    await page.until(`${LINE('temp')}.innerText.includes('22.0')`);
    await page.until(`${LINE('temp')}.innerText.includes('2 msg')`);
    await page.click('.fold', '▾');
    await page.until("document.querySelectorAll('.tree li').length === 1");
    await page.click('button', 'Open all');
    await page.until("document.querySelectorAll('.tree li').length === 4");
  })
));

test('hostile topics and payloads are texts', { skip }, () => {
  const script = '<script>window.struck = 1</script>';
  const image = '<img src=x onerror="window.struck = 2">';
  const clients = [client(image, { owner: script, subscriptions: [script] })];
  return watching(brokerRoutes(clients, [retained(`site/${image}`, script)]), {}, async (page, s, send) => {
    await page.until(`${LINE('onerror')}.innerText.includes('window.struck = 1')`);
    send(message(script, image), message('${struck}', 'javascript:struck'));
    await page.until(`${LINE('onerror="window.struck = 2"')}`);
    await page.click('.topic', 'onerror');
    await page.until("document.querySelector('.whole').innerText.includes('window.struck = 1')");
    await page.click('tr.openable', 'onerror');
    await page.until("document.querySelector('.pane .filters').innerText.includes('<script>')");
    const made = "document.querySelectorAll('main img, main script').length";
    assert.equal(await page.value(made), 0);
    assert.equal(await page.value('window.struck'), undefined);
    send(message('turned', 'a\u202Eb\0c'));
    await page.until(`${LINE('turned')}.innerText.includes('␀c')`);
    send({ topic: 'bytes', base64: '/wD+', bytes: 90_000, cut: true, qos: 0, retain: false, at: new Date().toISOString() });
    await page.until(`${LINE('bytes')}.innerText.includes('ff 00 fe')`);
    await page.click('.topic', 'bytes');
    await page.shows('The beginning of 90\u202f000 bytes.');
  });
});

test('what is retained is marked, and forgotten only when that is confirmed', { skip }, () => {
  const kept = [retained('site/light', 'on')];
  return watching(brokerRoutes([], kept), {}, async (page, server, send) => {
    await page.until(`${LINE('light')}.innerText.includes('retained')`);
    await page.until(`${LINE('light')}.innerText.includes('3 h ago')`);
    await page.click('.topic', 'light');
    await page.click('button', 'Forget retained…');
    await page.click('dialog button', 'Keep it');
    await page.until("!document.querySelector('dialog')");
    assert.equal(server.count('DELETE'), 0);
    await page.click('button', 'Forget retained…');
    await page.click('dialog button', 'Forget it');
    await page.until("!document.querySelector('dialog')");
    assert.equal(server.count('DELETE /v1/mqtt/retained?topic=site%2Flight'), 1);
    send(message('site/light', '', { retain: true }));
    await page.until(`!${LINE('light')}.innerText.includes('retained')`);
  });
});

test('the box publishes to the topic that was chosen, or tells why not', { skip }, () => {
  const routes = brokerRoutes([], [retained('site/light', 'on')]);
  return watching(routes, { allowed: /status of 422/ }, async (page) => {
    await page.click('.topic', 'light');
    await page.until("document.querySelector('[name=topic]').value === 'site/light'");
    await page.type('[name=text]', '{"on":false}');
    await page.value("document.querySelector('[name=retain]').click()");
    await page.click('button', 'Publish');
    await page.shows('Published and retained: site/light');
    assert.deepEqual(routes.published, [
      { topic: 'site/light', text: '{"on":false}', qos: 1, retain: true },
    ]);
    await page.type('[name=topic]', 'site/#');
    await page.click('button', 'Publish');
    await page.shows('Not published: wildcard at byte 5');
    await page.click('.topic', 'light');
    await page.until("document.querySelector('[name=topic]').value === 'site/light'");
    assert.equal(routes.published.length, 1);
  });
});

test('two hundred clients: trouble first; one opens and is ended by a second press', { skip }, () => {
  const clients = site();
  return watching(brokerRoutes(clients), {}, async (page, server) => {
    const rows = "[...document.querySelectorAll('.list tr.openable')].map((e) => e.innerText)";
    await page.until(`${rows}.length === 12`);
    const first = await page.value(rows);
    for (const [at, words] of ['queue nearly full', 'messages wait', 'not heard', 'has lost'].entries()) {
      assert.ok(first[at].includes(words), first[at]);
    }
    await page.shows('4 in trouble');
    await page.click('.more button', 'Show more');
    await page.until(`${rows}.length === 48`);
    clients[30].dropped = 7;
    await page.until(`${rows}[0].includes('losing messages')`);
    await page.type('input[type=search]', 'pump-019');
    await page.until(`${rows}.length === 1`);
    await page.click('tr.openable', 'pump-019');
    await page.shows('devices/pump-019/#');
    await page.click('.pane button', 'End connection…');
    await page.click('dialog button', 'Leave it');
    await page.until("!document.querySelector('dialog')");
    assert.equal(server.count('DELETE'), 0);
    await page.click('.pane button', 'End connection…');
    await page.click('dialog button', 'End it');
    await page.until("document.querySelector('.pane .badge').innerText === 'away'");
    assert.equal(server.count('DELETE /v1/mqtt/clients/pump-019'), 1);
    assert.equal(await page.value('location.search'), '?q=pump-019');
  });
});

test('who may only look is offered nothing else', { skip }, () => {
  const kept = [retained('site/light', 'on')];
  const options = { scope: 'viewer', hash: '#client=pump-018&topic=site%2Flight' };
  return watching(brokerRoutes(site(), kept), options, async (page) => {
    await page.until("document.querySelector('.pane') && document.querySelector('.whole')");
    const words = await page.value('document.body.innerText');
    for (const word of ['Publish', 'End connection', 'Forget']) assert.ok(!words.includes(word), word);
    assert.equal(await page.value("document.querySelectorAll('[name=topic]').length"), 0);
  });
});

test('a filter is kept in the address; one that is none is told and not asked again', { skip }, () => {
  const options = { hash: '?filter=site/%23', allowed: /status of 400/ };
  return watching(brokerRoutes(), options, async (page, server, send) => {
    assert.equal(server.count('events?filter=site%2F%23'), 1);
    send(message('site/a', '1'));
    await page.until(LINE('site'));
    await page.type('[name=filter]', '#/a');
    await page.press('Enter');
    await page.shows('is no topic filter');
    await page.until("document.querySelectorAll('.tree li').length === 0");
    await page.type('[name=filter]', '$SYS/#');
    await page.press('Enter');
    await page.until(LIVE);
    assert.equal(await page.value("new URLSearchParams(location.search).get('filter')"), '$SYS/#');
    await page.until("!document.body.innerText.includes('is no topic filter')");
    assert.equal(server.count('filter=%23%2Fa'), 1);
  });
});

test('paused, nothing is asked; going on, it is, and what was retained is counted once', { skip }, () => (
  watching(brokerRoutes([], [retained('a', '1')]), { allowed: CUT }, async (page, server, send) => {
    await page.click('button', 'Pause');
    await page.until("document.querySelector('.topics .link').innerText === 'paused'");
    while (server.state.streams.size > 0) await page.value('new Promise((next) => setTimeout(next, 20))');
    await page.click('button', 'Go on');
    await page.until(LIVE);
    send(message('b', '1'));
    await page.until(LINE('b'));
    server.cut();
    await page.until(`!(${LIVE})`);
    await page.until(LIVE);
    await page.shows('1 message seen');
    await page.shows('2 topics');
  })
));

test('what the page does not show is told: a full tree, what came too fast', { skip }, () => (
  watching(brokerRoutes([]), {}, async (page, server, send) => {
    const many = Array.from({ length: 5_002 }, (_, n) => message(`t${n}`, '1'));
    send(...many);
    await page.shows('2 messages of others left out');
    await page.until("document.querySelectorAll('.tree li').length === 300");
    await page.click('.more button', 'Show more');
    await page.until("document.querySelectorAll('.tree li').length === 1200");
    server.send('missed', { missed: 1234 }, EVENTS);
    await page.shows('1234 messages came faster than this page takes them');
    await page.click('button', 'Clear');
    await page.until("document.querySelectorAll('.tree li').length === 0");
    server.send('ready', { retained: 5_000, left_out: 77 }, EVENTS);
    await page.shows('77 retained messages more');
  })
));

test('rates are told, drawn, and what was dropped with its reasons', { skip }, () => (
  watching(brokerRoutes(), {}, async (page) => {
    const answers = "[...document.querySelectorAll('.tile .answer')].map((e) => e.innerText)";
    await page.until(`/^(9\\d|10\\d) messages\\/s$/.test(${answers}[1])`);
    await page.until(`/^2[345]\\d messages\\/s$/.test(${answers}[2])`);
    await page.shows('1204 queue full, or not taken, 2 too large');
    await page.shows('A client was slowed down 7 times.');
    await page.until("document.querySelectorAll('.charts canvas').length === 2");
    const label = "document.querySelector('.plot').getAttribute('aria-label')";
    await page.until(`/points from/.test(${label})`);
  })
));

test('on a phone nothing scrolls sideways, however long topics and names are', { skip }, async () => {
  const clients = site();
  clients[17].client = 'a-client-with-an-identifier-that-somebody-generated-7f406d6d7f34654db8583c76d05';
  const deep = Array.from({ length: 40 }, (_, n) => `level-${n}`).join('/');
  const kept = [retained(`site/${'long'.repeat(60)}/temp`, 'x'.repeat(400)), retained(deep, '1')];
  for (const dark of [false, true]) {
    const size = { width: 360, height: 740, dark };
    await watching(brokerRoutes(clients, kept), size, async (page) => {
      await page.shows('199 connected');
      await page.until(LINE('level-39'));
      assert.ok(await page.value(WIDTHS), await page.value('document.documentElement.scrollWidth'));
      // What is wider than the screen makes the browser show all of the page smaller.
      assert.equal(await page.value('innerWidth'), 360);
      const cut = "[...document.querySelectorAll('main li, main td, main button, main p')].filter("
        + '(e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 90))';
      assert.deepEqual(await page.value(cut), []);
      await page.click('.topic', 'level-39');
      await page.until("document.querySelector('.whole')");
      assert.ok(await page.value(WIDTHS));
      await page.click('tr.openable', 'a-client-with');
      await page.shows('Waits on disk');
      assert.ok(await page.value("document.querySelector('.pane').scrollWidth <= 360"));
    });
  }
});

test('page and gateway understand each other', { skip: skip || without }, async () => {
  const gateway = await startGateway();
  const image = '<img src=x onerror="window.struck = 1">';
  // The browser's word on the first question of who is not signed in, and on refusals.
  const options = { hash: 'mqtt.html', allowed: /status of 4(00|01|22)/ };
  try {
    await open(gateway.url, options, async (page) => {
      await page.type('#token', gateway.token);
      await page.press('Enter');
      await page.shows('Nobody has connected yet');
      await page.until(LIVE);
      const plc = await connectClient(gateway.mqtt, 'plc/7 <b>', gateway.token);
      plc.publish('site/hall', image);
      await page.until(`${LINE('hall')}.innerText.includes('onerror')`);
      assert.equal(await page.value("document.querySelectorAll('main img').length"), 0);
      await page.click('.topic', 'hall');
      await page.type('[name=text]', 'on');
      await page.value("document.querySelector('[name=retain]').click()");
      await page.click('button', 'Publish');
      await page.shows('Published and retained: site/hall');
      await page.until(`${LINE('hall')}.innerText.includes('retained')`);
      await page.type('[name=topic]', 'devices/pump-1/readings');
      await page.click('button', 'Publish');
      await page.shows('Not published:');
      await page.click('button', 'Forget retained…');
      await page.click('dialog button', 'Forget it');
      await page.until(`!${LINE('hall')}.innerText.includes('retained')`);
      await page.click('tr.openable', 'plc/7');
      await page.click('.pane button', 'End connection…');
      await page.click('dialog button', 'End it');
      await plc.closed;
      // With the dialog goes the focus, back to the button.
      await page.until("!document.querySelector('dialog')");
      await page.type('[name=filter]', 'a/#/b');
      await page.press('Enter');
      await page.shows('alone in the last level (filter)');
      assert.equal(await page.value('window.struck'), undefined);
    });
  } finally {
    await gateway.close();
  }
});
