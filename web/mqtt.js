// The page of the broker. First how much goes through it and what was dropped, then its clients,
// those in trouble first, then the topics as a tree that grows as messages come, with a box to
// publish one. The address holds the filters and what is open, so the back button and a bookmark
// work.

import { html, render, useEffect, useRef, useState } from './lib/ui.js';
import { Clients } from './lib/clients.js';
import { useAnswer, useHash, useQuery } from './lib/hooks.js';
import { Head, Tabs, Waiting, titleOf } from './lib/parts.js';
import { Chosen, Publish } from './lib/publish.js';
import { Gate } from './lib/session.js';
import { Topics } from './lib/topictree.js';
import { Traffic } from './lib/traffic.js';
import { useBroker, useTopics } from './lib/watch.js';

function Broker({ session, signOut }) {
  const [query, ask] = useQuery();
  const [hash, go] = useHash();
  const text = query.q ?? '';
  const broker = useBroker(text);
  const { answer } = useAnswer('/v1/status');
  const title = answer ? titleOf(answer.node) : '…';
  const mayChange = session.scope === 'admin';
  const link = broker.status && !broker.lostSince ? 'live' : 'connecting';
  const feed = { link, lostSince: broker.lostSince, problem: broker.problem };
  return html`
    <${Head} title=${title} kind="gateway" feed=${feed} session=${session} signOut=${signOut} />
    <${Tabs} kind="gateway" here="mqtt" />
    <main>
      ${broker.status ? html`
        <${Traffic} status=${broker.status} samples=${broker.samples} />
        <${Clients} broker=${broker} text=${text} ask=${ask} opened=${hash.client}
          go=${({ client }) => go({ ...hash, client })} mayChange=${mayChange} />
        <${Messages} filter=${query.filter ?? '#'} ask=${ask} topic=${hash.topic}
          go=${(topic) => go({ ...hash, topic })} mayChange=${mayChange} />`
      : html`<${Waiting} feed=${feed} />`}
    </main>`;
}

/** Drawn a few times a second while messages come; the rest of the page is not. */
function Messages({ filter, ask, topic, go, mayChange }) {
  const [paused, setPaused] = useState(false);
  const [choices, setChoices] = useState(0);
  const topics = useTopics(filter, paused);
  const choose = (chosen) => {
    if (chosen !== topic) go(chosen);
    setChoices(choices + 1);
  };
  const card = useRef(null);
  useEffect(() => {
    // On a phone it is below the tree, which may be long.
    if (choices > 0) card.current.scrollIntoView({ block: 'nearest' });
  }, [choices]);
  return html`
    <div class="beside">
      <${Topics} topics=${topics} filter=${filter} paused=${paused} setPaused=${setPaused}
        setFilter=${(next) => ask({ filter: next === '#' ? null : next })}
        chosen=${topic} choose=${choose} />
      <section class="card chosen" ref=${card} aria-label="Topic">
        <h2>${topic === undefined ? 'No topic chosen' : html`<bdi>${topic}</bdi>`}</h2>
        <${Chosen} topic=${topic} mayChange=${mayChange}
          level=${topic === undefined ? undefined : topics.tree.find(topic)} />
        ${mayChange && html`<h3>Publish</h3><${Publish} topic=${topic} choices=${choices} />`}
      </section>
    </div>`;
}

render(html`<${Gate} kind="gateway" page=${Broker}
  command="holdfast-edge token new --viewer --name NAME" />`, document.getElementById('app'));
