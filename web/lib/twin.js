// The twin of a device: what it tells of itself, then what it should be beside what it says it is,
// path by path, with the paths where the two differ first; what people call it; what was written at once and why a value won;
// and what changed before. Whoever may, sets a path from here.

import { classes, html, useEffect, useRef, useState } from './ui.js';
import { get, patch, path } from './api.js';
import { DeviceConflicts } from './conflicts.js';
import { About } from './device.js';
import { useAnswer, useNow } from './hooks.js';
import { When } from './parts.js';
import { counted } from './units.js';

const ASK_MS = 5_000;
const PAST = 20;

const urlOf = (device) => `/v1/devices/${encodeURIComponent(device)}/twin`;

export function Twin({ device, mayChange }) {
  const now = useNow(ASK_MS);
  const url = path(urlOf(device), { metadata: true });
  const { answer, problem, reload } = useAnswer(url, [now]);
  const [setting, setSetting] = useState(null);
  if (problem) return html`<p class="alarm-text" role="alert">${problem.words}</p>`;
  if (!answer) return html`<p class="muted">Loading…</p>`;
  const differ = answer.differences.length;
  const isEmpty = [answer.desired, answer.reported].every(({ metadata }) => noneIn(metadata));
  const set = (section, place = '', value = '') => setSetting({ section, place, value });
  return html`
    <div class="twin">
      <p class=${classes(differ > 0 ? 'warn-text' : 'good-text')} role="status">${
        isEmpty ? 'Nothing is desired of it and it reports nothing.'
          : differ > 0 ? `${counted(differ, 'path')} not as desired.`
            : 'It reports all that is desired.'}</p>
      <${About} says=${answer.reported.values?.device} />
      ${!isEmpty && html`<${Paths} twin=${answer} edit=${mayChange && set} />`}
      <${Tags} tags=${answer.tags} edit=${mayChange && set} />
      ${mayChange && html`<p class="row"><button onClick=${() => set('desired')}>Set…</button>
        <button onClick=${() => set('tags')}>Tag…</button></p>`}
      <${DeviceConflicts} device=${device} mayChange=${mayChange} />
      <${Past} device=${device} version=${answer.desired.version} />
      ${setting && html`<${SetPath} device=${device} setting=${setting}
        close=${() => setSetting(null)} done=${reload} />`}
    </div>`;
}

const noneIn = (metadata) => Object.keys(metadata ?? {}).length === 0;

/** The value at a path of names split by `/`. */
function at(values, place) {
  return place.split('/').reduce((inner, name) => inner?.[name], values);
}

function Paths({ twin, edit }) {
  const { desired, reported, differences } = twin;
  const differing = new Set(differences.map((one) => one.path));
  const all = new Set([...Object.keys(desired.metadata), ...Object.keys(reported.metadata)]);
  const order = (place) => (differing.has(place) ? 0 : 1);
  const places = [...all].sort((a, b) => order(a) - order(b) || a.localeCompare(b));
  return html`
    <table aria-label="Desired and reported">
      <thead><tr><th scope="col">Path</th><th scope="col">Desired</th><th scope="col">Reported</th>
        <th scope="col">Set by</th></tr></thead>
      <tbody>${places.map((place) => html`
        <tr key=${place} class=${classes(differing.has(place) && 'differs')}>
          <td class="name">${edit && desired.metadata[place]
            ? html`<button class="quiet" onClick=${() => (
              edit('desired', place, textOf(at(desired.values, place))))}>${place}</button>`
            : html`<code>${place}</code>`}</td>
          <td data-name="Desired"><${Leaf} part=${desired} place=${place} /></td>
          <td data-name="Reported"><${Leaf} part=${reported} place=${place} /></td>
          <td class="muted" data-name="Set by"><${By} meta=${desired.metadata[place]
            ?? reported.metadata[place]} /></td>
        </tr>`)}</tbody>
    </table>`;
}

function Leaf({ part, place }) {
  if (!part.metadata[place]) return html`<span class="muted">–</span>`;
  return html`<code>${JSON.stringify(at(part.values, place))}</code>`;
}

function By({ meta }) {
  return meta ? html`${meta.author}, <${When} time=${meta.at} />` : '–';
}

function Tags({ tags, edit }) {
  const places = Object.keys(tags?.metadata ?? {});
  if (places.length === 0) return null;
  return html`
    <p class="tags">${places.map((place) => {
      const text = `${place}: ${textOf(at(tags.values, place))}`;
      const change = () => edit('tags', place, textOf(at(tags.values, place)));
      return edit ? html`<button key=${place} class="badge" onClick=${change}>${text}</button>`
        : html`<span key=${place} class="badge">${text}</span>`;
    })}</p>`;
}

const textOf = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

/** What was typed: JSON, or else a text; nothing takes the path away. */
export function valueOf(typed) {
  if (typed.trim() === '') return null;
  try {
    return JSON.parse(typed);
  } catch {
    return typed;
  }
}

/** The merge patch that puts `value` at a path of names split by `/`. */
export function patchOf(place, value) {
  return place.split('/').reduceRight((inner, name) => ({ [name]: inner }), value);
}

function SetPath({ device, setting, close, done }) {
  const dialog = useRef(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => dialog.current.showModal(), []);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const change = patchOf(form.get('path').trim(), valueOf(form.get('value')));
    try {
      await patch(`${urlOf(device)}/${setting.section}`, change);
      done();
      close();
    } catch (refused) {
      setProblem(refused);
    }
  };
  const isTag = setting.section === 'tags';
  return html`
    <dialog ref=${dialog} aria-label=${isTag ? 'Tag a device' : 'Set what is desired'}
      onClose=${close}>
      <form class="stack" onSubmit=${submit}>
        <h2>${isTag ? 'Tag' : 'Desired of'} ${device}</h2>
        <label>Path <input name="path" required value=${setting.place} autocomplete="off"
          spellcheck=${false} placeholder="net/mtu" autofocus=${setting.place === ''} /></label>
        <label>Value <input name="value" value=${setting.value} autocomplete="off"
          spellcheck=${false} placeholder="1400, true, a text; empty takes it away"
          autofocus=${setting.place !== ''} /></label>
        ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
        <div class="row end">
          <button type="button" onClick=${close}>Cancel</button>
          <button class="primary">Set</button>
        </div>
      </form>
    </dialog>`;
}

/** What was desired before; asked for when it is opened. */
function Past({ device, version }) {
  const [changes, setChanges] = useState(null);
  const [problem, setProblem] = useState(null);
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    if (!isOpen) return;
    const url = path(`${urlOf(device)}/history`, { section: 'desired', limit: PAST });
    get(url).then((answer) => setChanges(answer.changes), setProblem);
  }, [isOpen, device, version]);
  return html`
    <details onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>What was desired before</summary>
      ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      ${changes?.length === 0 && html`<p class="muted">Nothing was ever set.</p>`}
      <ul class="past">${(changes ?? []).map((change) => html`
        <li key=${change.change}><span class="muted"><${When} time=${change.at} />,
          ${' '}${change.node}:</span> ${change.paths.map((one, n) => html`${n > 0 && '; '}
          <code key=${one.path}>${one.path}</code> ${one.from === null ? ''
            : html`<s>${JSON.stringify(one.from)}</s> `}<strong>${one.to === null ? 'taken away'
            : JSON.stringify(one.to)}</strong>`)}</li>`)}</ul>
    </details>`;
}
