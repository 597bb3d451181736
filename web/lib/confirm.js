// A button whose deed is done only after a second one was pressed. What the node answers instead is
// told where it was asked.

import { html, useEffect, useRef, useState } from './ui.js';

/**
 * `word` is on the button, `title` asks, the children say what follows; `yes` and `no` are the
 * answers, `grave` whether the first of them is drawn as one to think about. `act` does it, and
 * `done` comes after.
 */
export function Confirm({
  word, look = 'quiet danger', grave = true, title, yes, no, act, done, children,
}) {
  const dialog = useRef(null);
  const [asked, setAsked] = useState(false);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    if (asked) dialog.current.showModal();
  }, [asked]);
  const close = () => {
    setAsked(false);
    setProblem(null);
  };
  const confirm = async () => {
    try {
      await act();
      close();
      done?.();
    } catch (refused) {
      setProblem(refused);
    }
  };
  return html`
    <button type="button" class=${look} onClick=${() => setAsked(true)}>${word}</button>
    ${asked && html`
      <dialog ref=${dialog} aria-label=${title} onClose=${close}
        onKeyDown=${(event) => event.key === 'Escape' && event.stopPropagation()}>
        <h2>${title}</h2>
        <p>${children}</p>
        ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
        <div class="row end">
          <button type="button" autofocus onClick=${close}>${no}</button>
          <button type="button" class=${grave ? 'danger-fill' : 'primary'}
            onClick=${confirm}>${yes}</button>
        </div>
      </dialog>`}`;
}
