// A definition that is to be installed: pasted or taken from a file, with what is wrong in it
// beside the text. Lines with a fault are marked, and a fault leads to its place.

import { classes, html, useEffect, useLayoutEffect, useRef, useState } from './ui.js';
import { post } from './api.js';
import { Pane } from './pane.js';
import { Words } from './parts.js';
import { faultsOf, offsetOf } from './runs.js';
import { counted } from './units.js';

const EXAMPLE = `workflow: pump-dry
version: "1"
input: {device: text}
steps:
  - command: stop
    device: \${device}
    timeout: 30s
`;

/** `draft` is the text and the way to change it: it outlives the pane, which Escape closes. */
export function AddFlow({ draft: [text, setText], close, open, changed }) {
  const [told, setTold] = useState(null);
  const [busy, setBusy] = useState(false);
  const area = useRef(null);
  const write = (next) => {
    setText(next);
    setTold(null);
  };
  const choose = async (event) => {
    const [file] = event.currentTarget.files;
    event.currentTarget.value = '';
    if (file) write(await file.text());
  };
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      setTold({ installed: await post('/v1/workflows', { definition: text }) });
      changed();
    } catch (problem) {
      setTold({ problem, faults: faultsOf(problem) });
    }
    setBusy(false);
  };
  const goTo = ({ line, column }) => {
    const at = offsetOf(text, line, column);
    area.current.focus();
    area.current.setSelectionRange(at, at);
    area.current.scrollTop = Math.max(0, (line - 4)) * lineHeight(area.current);
  };
  return html`
    <${Pane} title="Add a workflow" subtitle="a definition in YAML or JSON" close=${close}>
      <form class="definition" onSubmit=${submit}>
        <div class="row">
          <label class="button">Choose a file…
            <input type="file" accept=".yaml,.yml,.json,text/plain" onChange=${choose} /></label>
          <button class="primary" disabled=${busy || text.trim() === ''}>${
            busy ? 'Installing…' : 'Install'}</button>
        </div>
        <div class="written">
          <${Numbered} text=${text} write=${write} area=${area} faults=${told?.faults ?? []} />
          <div class="faults"><${Told} told=${told} goTo=${goTo} open=${open} /></div>
        </div>
      </form>
    <//>`;
}

const lineHeight = (area) => parseFloat(getComputedStyle(area).lineHeight);

/** A text with the numbers of its lines, those marked that have a fault. */
function Numbered({ text, write, area, faults }) {
  const numbers = useRef(null);
  const lines = text.split('\n').length;
  const bad = new Set(faults.map(({ line }) => line));
  const follow = () => {
    numbers.current.scrollTop = area.current.scrollTop;
  };
  useLayoutEffect(follow);
  return html`
    <div class="numbered">
      <div class="numbers" ref=${numbers} aria-hidden="true">
        ${Array.from({ length: lines }, (_, n) => html`
          <div key=${n} class=${classes(bad.has(n + 1) && 'bad')}>${n + 1}</div>`)}</div>
      <textarea ref=${area} name="definition" aria-label="Definition" rows="16" wrap="off"
        spellcheck=${false} autocapitalize="none" autocomplete="off" placeholder=${EXAMPLE}
        value=${text} onScroll=${follow}
        onInput=${(event) => write(event.currentTarget.value)}></textarea>
    </div>`;
}

function Told({ told, goTo, open }) {
  const list = useRef(null);
  useEffect(() => {
    // On a phone it is below the text, which may be long.
    if (told) list.current.scrollIntoView({ block: 'nearest' });
  }, [told]);
  if (!told) {
    return html`<p class="muted" ref=${list}>What is wrong with it is told here, with line and
      column. A version never changes: what is changed gets another one.</p>`;
  }
  if (told.installed) {
    const { id, version, warnings } = told.installed;
    return html`
      <div ref=${list}>
        <p class="good-text" role="status">Installed <strong>${id}</strong> version ${version}.
          ${' '}<button type="button" onClick=${() => open({ id, version })}>Open it</button></p>
        ${warnings.length > 0 && html`<p class="warn-text">Probably not meant:</p>
          <ul>${warnings.map((one) => html`<li key=${one}>${one}</li>`)}</ul>`}
      </div>`;
  }
  const { problem, faults } = told;
  return html`
    <div ref=${list} role="alert">
      <p class="alarm-text">Not installed: ${faults.length > 0
        ? counted(faults.length, 'fault') : problem.words}</p>
      <ol>${faults.map((fault, n) => html`
        <li key=${n}><button type="button" class="fault" onClick=${() => goTo(fault)}>
          <code>${fault.line}:${fault.column}</code> <${Words} text=${fault.message} />${fault.advice
            && html`<small><${Words} text=${fault.advice} /></small>`}</button></li>`)}</ol>
    </div>`;
}
