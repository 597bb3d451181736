// The tree of topics as it is seen: a filter that the node applies, levels to open and close, the
// last value of each topic and its age. Whatever a payload says, it is drawn as text.

import { classes, html, useEffect, useState } from './ui.js';
import { useNow } from './hooks.js';
import { ago, utc } from './time.js';
import { LEVELS_MAX, payloadLine } from './topics.js';
import { count, counted } from './units.js';

/** Lines that are drawn at first. */
const LINES = 300;

export function Topics({ topics, filter, setFilter, paused, setPaused, chosen, choose }) {
  const { tree, link, problem } = topics;
  return html`
    <section class="list topics" aria-label="Topics">
      <div class="row toolbar">
        <h2>${counted(tree.root.topics, 'topic')}</h2>
        <${Filter} filter=${filter} setFilter=${setFilter} />
      </div>
      <div class="row toolbar">
        <button class=${classes(paused && 'primary')} aria-pressed=${paused ? 'true' : 'false'}
          onClick=${() => setPaused(!paused)}>${paused ? 'Go on' : 'Pause'}</button>
        <${Bulk} topics=${topics} />
        <span class=${classes('link', !paused && link === 'live' ? 'good' : 'warn')} role="status"
          >${paused ? 'paused' : link === 'live' ? 'live' : 'connecting…'}</span>
        <span class="muted">${counted(tree.root.messages, 'message')} seen</span>
      </div>
      ${problem && html`<p class="banner alarm" role="alert">${problem.words}</p>`}
      <${Limits} topics=${topics} />
      <${Lines} topics=${topics} chosen=${chosen} choose=${choose} />
    </section>`;
}

/** Typing does not ask the node; Enter does. */
function Filter({ filter, setFilter }) {
  const [text, setText] = useState(filter);
  useEffect(() => setText(filter), [filter]);
  const submit = (event) => {
    event.preventDefault();
    setFilter(text.trim() || '#');
  };
  return html`
    <form class="row filter-by" onSubmit=${submit}>
      <input name="filter" value=${text} aria-label="Topic filter" spellcheck=${false}
        autocomplete="off" autocapitalize="none" placeholder="# or site/+/temp"
        onInput=${(event) => setText(event.currentTarget.value)} />
      <button>Watch</button>
    </form>`;
}

function Bulk({ topics: { tree, redraw, clear } }) {
  const all = (isOpen) => {
    tree.openAll(isOpen);
    redraw();
  };
  return html`
    <button class="quiet" onClick=${() => all(true)}>Open all</button>
    <button class="quiet" onClick=${() => all(false)}>Close all</button>
    <button class="quiet" onClick=${clear}>Clear</button>`;
}

/** What is not to be seen, and why. */
function Limits({ topics: { tree, missed, leftOut } }) {
  const told = [
    tree.leftOut > 0 && `The tree has ${count(LEVELS_MAX)} levels and takes no more topics: `
      + `${counted(tree.leftOut, 'message')} of others left out. A narrower filter shows them.`,
    leftOut > 0 && `${counted(leftOut, 'retained message')} more than are shown at once.`,
    missed > 0 && `${counted(missed, 'message')} came faster than this page takes them. `
      + 'No client has lost anything.',
  ].filter(Boolean);
  if (told.length === 0) return null;
  return html`<div class="banner warn" role="status">${told.map((text) => html`
    <p key=${text}>${text}</p>`)}</div>`;
}

function Lines({ topics, chosen, choose }) {
  const [most, setMost] = useState(LINES);
  const now = useNow();
  const { tree, redraw, retained } = topics;
  const { shown, total } = tree.lines(most);
  if (total === 0) {
    return html`<p class="empty">${retained === null ? 'Nothing yet.'
      : 'Nothing is retained of it; a message shows here as it comes.'}</p>`;
  }
  const toggle = (level) => {
    level.isOpen = !level.isOpen;
    redraw();
  };
  return html`
    <ul class="tree" aria-label="Tree of topics">${shown.map((level) => html`
      <${Line} key=${level.path} level=${level} messages=${level.messages} now=${now}
        isChosen=${level.path === chosen} toggle=${toggle} choose=${choose} />`)}</ul>
    ${total > shown.length && html`<p class="more"><button onClick=${() => setMost(most * 4)}>
      Show more (${count(total - shown.length)} hidden)</button></p>`}`;
}

/** Levels further in are no further to the right: a phone has no room for them. */
const DEPTHS = 8;
/** What came longer ago does not flash when it is folded out. */
const FRESH_MS = 2_000;

function Line({ level, now, isChosen, toggle, choose }) {
  const { name, path, depth, children, isOpen, last } = level;
  const inner = children.size;
  const label = name === '' ? '(empty)' : name;
  const sums = [
    inner > 0 && counted(level.topics, 'topic'), level.messages > 0 && `${count(level.messages)} msg`,
  ].filter(Boolean).join(', ');
  const isFresh = level.messages > 0 && last && now - Date.parse(last.at) < FRESH_MS;
  return html`
    <li class=${classes(`d${Math.min(depth, DEPTHS)}`, isChosen && 'opened')}>
      ${inner > 0 ? html`
        <button class="fold" aria-expanded=${isOpen ? 'true' : 'false'}
          aria-label=${`${isOpen ? 'Close' : 'Open'} ${path}`} onClick=${() => toggle(level)}
          >${isOpen ? '▾' : '▸'}</button>` : html`<span class="fold"></span>`}
      <button class="topic" title=${path} onClick=${() => choose(path)}><bdi>${label}</bdi></button>
      ${level.isRetained && html`<span class="badge" title="kept for who subscribes later"
        >retained</span>`}
      ${last && html`<bdi class=${classes('payload', last.text === undefined && 'muted')}
        ><span key=${level.messages} class=${classes(isFresh && 'flash')}
        >${payloadLine(last)}</span></bdi>`}
      <span class="told">${sums}${sums && last && ', '}${last && html`
        <time title=${utc(last.at)}>${ago(last.at, now)}</time>`}</span>
    </li>`;
}
