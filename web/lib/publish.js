// The topic that was chosen with its last message, and the box to publish one. What the node
// answers stands below it, a refusal with its reason.

import { html, useEffect, useState } from './ui.js';
import { path, post, remove } from './api.js';
import { Confirm } from './confirm.js';
import { Age, When } from './parts.js';
import { payloadText } from './topics.js';
import { bytes, count } from './units.js';

export function Chosen({ level, topic, mayChange }) {
  if (!level?.last) {
    return html`<p class="muted">${topic ? 'No message of this topic has been seen.'
      : 'Choose a topic to see its last message whole.'}</p>`;
  }
  const { last } = level;
  const isText = last.text !== undefined;
  return html`
    <div class="row">
      <p class="muted">QoS ${last.qos}, ${bytes(last.bytes)}${isText ? '' : ', not text'},
        ${' '}<${When} time=${last.at} whole /> (<${Age} time=${last.at} />)</p>
    </div>
    <pre class="whole" tabindex="0" aria-label="Payload"><bdi>${payloadText(last)}</bdi></pre>
    ${last.cut && html`<p class="muted">The beginning of ${count(last.bytes)} bytes.</p>`}
    ${level.isRetained && mayChange && html`<div class="row end"><${Confirm} word="Forget retained…"
      title="Forget the retained message?" yes="Forget it" no="Keep it"
      act=${() => remove(path('/v1/mqtt/retained', { topic }))}>
      Who subscribes to <code>${topic}</code> from now on is sent nothing of it. Who is subscribed
      is sent a message without a payload.
    <//></div>`}`;
}

/** `topic` is what was chosen last, `choices` how often; it may be changed. */
export function Publish({ topic: chosen, choices }) {
  const [topic, setTopic] = useState(chosen ?? '');
  const [text, setText] = useState('');
  const [qos, setQos] = useState(1);
  const [retain, setRetain] = useState(false);
  const [told, setTold] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    if (chosen !== undefined) setTopic(chosen);
  }, [chosen, choices]);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await post('/v1/mqtt/messages', { topic, text, qos, retain });
      setTold({ topic, retain, text, at: new Date().toISOString() });
    } catch (problem) {
      setTold({ problem });
    }
    setBusy(false);
  };
  return html`
    <form class="stack" aria-label="Publish a message" onSubmit=${submit}>
      <label>Topic <input name="topic" required value=${topic} autocomplete="off"
        autocapitalize="none" spellcheck=${false} placeholder="site/light/set"
        onInput=${(event) => setTopic(event.currentTarget.value)} /></label>
      <label>Payload <textarea name="text" rows="4" spellcheck=${false} value=${text}
        onInput=${(event) => setText(event.currentTarget.value)}></textarea></label>
      <div class="row">
        <label class="row">QoS <select name="qos" value=${qos}
          onChange=${(event) => setQos(Number(event.currentTarget.value))}>
          ${[0, 1, 2].map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
        </select></label>
        <label class="row"><input type="checkbox" name="retain" checked=${retain}
          onChange=${(event) => setRetain(event.currentTarget.checked)} /> Retain</label>
        <button class="primary" disabled=${busy}>${busy ? 'Publishing…' : 'Publish'}</button>
      </div>
      <${Told} told=${told} />
    </form>`;
}

function Told({ told }) {
  if (!told) return null;
  if (told.problem) {
    return html`<p class="alarm-text" role="alert">Not published: ${told.problem.words}</p>`;
  }
  const what = told.retain && told.text === '' ? 'Nothing is retained any more of'
    : told.retain ? 'Published and retained:' : 'Published to';
  return html`<p class="good-text" role="status">${what} <code>${told.topic}</code>
    ${' '}<span class="muted"><${Age} time=${told.at} /></span></p>`;
}
