// What is open beside a list: on a wide screen a column that stays in sight, on a narrow one a
// sheet over the page. It takes the focus when it opens, Escape closes it, and the focus goes back.

import { html, useLayoutEffect, useRef } from './ui.js';

export function Pane({ title, subtitle, badge, actions, close, children }) {
  const pane = useRef(null);
  useLayoutEffect(() => {
    const [before, here] = [document.activeElement, pane.current];
    here.focus({ preventScroll: true });
    return () => {
      // Whoever has gone on to something else keeps the focus there.
      const at = document.activeElement;
      const isHere = !at || at === document.body || here.contains(at);
      if (isHere && before?.isConnected) before.focus({ preventScroll: true });
    };
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
