// What is open beside a list: on a wide screen a column that stays in sight, on a narrow one a
// sheet over the page. It takes the focus when it opens, Escape closes it, and the focus goes back.

import { html, useLayoutEffect, useRef } from './ui.js';

export function Pane({ title, subtitle, badge, actions, close, children }) {
  const pane = useRef(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    pane.current.focus({ preventScroll: true });
    return () => before?.isConnected && before.focus({ preventScroll: true });
  }, []);
  const keyed = (event) => {
    if (event.key === 'Escape' && !event.defaultPrevented) close();
  };
  return html`
    <aside class="pane" ref=${pane} tabindex="-1" aria-label=${title} onKeyDown=${keyed}>
      <div class="row pane-head">
        <div><h2>${title} ${badge}</h2>${subtitle && html`<p class="muted">${subtitle}</p>`}</div>
        <div class="row actions">${actions}
          <button class="quiet" aria-label="Close" onClick=${close}>✕</button></div>
      </div>
      ${children}
    </aside>`;
}
