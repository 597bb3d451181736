// A form made from what is asked for: a field for each value, by its type. What is left empty is
// left out, so that the node takes its default; what is not there and has none, the node tells.

import { html, useLayoutEffect, useRef, useState } from './ui.js';
import { typedOf } from './runs.js';

const KINDS = { int: 'whole number', decimal: 'number', text: 'text' };
const STEPS = { int: '1', decimal: 'any' };

/** One field: `{ name, type, default, value }`; what has a value begins with it. */
function Field({ field, first }) {
  const { name, type, default: usual, value } = field;
  const given = value === undefined ? '' : String(value);
  const hasUsual = usual !== null && usual !== undefined;
  const needed = !hasUsual && value === undefined;
  if (type === 'bool') {
    const words = hasUsual ? `as usual: ${usual}` : '–';
    return html`
      <label>${name} <select name=${name} required=${needed} autofocus=${first}>
        ${value === undefined && html`<option value="">${words}</option>`}
        ${['true', 'false'].map((one) => html`
          <option key=${one} value=${one} selected=${given === one}>${one}</option>`)}
      </select></label>`;
  }
  return html`
    <label>${name} <small>${KINDS[type]}</small>
      <input name=${name} type=${type === 'text' ? 'text' : 'number'} defaultValue=${given}
        required=${needed} step=${STEPS[type]} autofocus=${first}
        placeholder=${hasUsual ? `${usual} if empty` : undefined} autocomplete="off"
        autocapitalize="none" spellcheck=${false} /></label>`;
}

/** What was typed into a form, by name; with `changedOnly` what differs from the values before. */
function valuesOf(form, fields, changedOnly) {
  const values = {};
  for (const field of fields) {
    const typed = form.get(field.name) ?? '';
    const hasUsual = field.default !== null && field.default !== undefined;
    const isLeft = changedOnly ? typed === String(field.value) : typed === '' && hasUsual;
    const value = isLeft ? undefined : typedOf(field, typed);
    if (value !== undefined) values[field.name] = value;
  }
  return values;
}

/** A button that opens the form; `send(values)` does it, and `done(answer, values)` comes after. */
export function Ask({
  word, look = '', title, yes, fields, changedOnly = false, send, done, children,
}) {
  const [asked, setAsked] = useState(false);
  return html`
    <button type="button" class=${look} onClick=${() => setAsked(true)}>${word}</button>
    ${asked && html`<${Form} title=${title} yes=${yes} fields=${fields} changedOnly=${changedOnly}
      send=${send} done=${done} close=${() => setAsked(false)}>${children}<//>`}`;
}

/** The fields are those of when it was opened: what is typed is not changed by what arrives. */
function Form({ title, yes, fields: now, changedOnly, send, done, close, children }) {
  const dialog = useRef(null);
  const fields = useRef(now).current;
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useLayoutEffect(() => dialog.current.showModal(), []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const values = valuesOf(new FormData(event.currentTarget), fields, changedOnly);
      const answer = await send(values);
      close();
      done?.(answer, values);
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
    }
  };
  return html`
    <dialog ref=${dialog} aria-label=${title} onClose=${close}
      onKeyDown=${(event) => event.key === 'Escape' && event.stopPropagation()}>
      <form class="stack" onSubmit=${submit}>
        <h2>${title}</h2>
        ${children && html`<p>${children}</p>`}
        ${fields.map((field, n) => html`
          <${Field} key=${field.name} field=${field} first=${n === 0} />`)}
        ${problem && html`<p class="alarm-text" role="alert">${problem.words ?? problem.message}</p>`}
        <div class="row end">
          <button type="button" onClick=${close}>Cancel</button>
          <button class="primary" disabled=${busy} autofocus=${fields.length === 0}>${yes}</button>
        </div>
      </form>
    </dialog>`;
}
