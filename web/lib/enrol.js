// How a gateway comes into the fleet and out of it: a string to run on its machine, and a removal
// that has to be confirmed because it ends the gateway's connection.

import { html, useState } from './ui.js';
import { post, remove } from './api.js';
import { Confirm } from './confirm.js';
import { nameOf } from './fleet.js';
import { Copy } from './parts.js';

export function AddGateway() {
  const [made, setMade] = useState(null);
  const [problem, setProblem] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    try {
      setMade(await post('/v1/enrolments', { site: form.get('site'), name: form.get('name') }));
      setProblem(null);
    } catch (refused) {
      setProblem(refused);
    }
  };
  if (made) return html`<${Invitation} made=${made} again=${() => setMade(null)} />`;
  return html`
    <form class="stack" onSubmit=${submit}>
      <p>Where it stands and what it is called. Together they name the gateway for good.</p>
      <label>Site <input name="site" required maxlength="64" placeholder="north" autofocus
        autocomplete="off" spellcheck=${false} /></label>
      <label>Name <input name="name" required maxlength="64" placeholder="ps-017"
        autocomplete="off" spellcheck=${false} /></label>
      ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      <button class="primary">Make the invitation</button>
    </form>`;
}

function Invitation({ made, again }) {
  return html`
    <div class="stack" role="status">
      <p>Run this on the machine of <strong>${made.site}/${made.name}</strong>. It may be done
        before the gateway runs, while it runs, and without a link: it keeps trying.</p>
      <${Copy} text=${`holdfast-edge join ${made.invitation}`} label="command for the gateway" />
      <p class="muted">The invitation works once and is shown only here. It holds a secret: send it
        the way you would send a password.</p>
      <p><button onClick=${again}>Add another</button></p>
    </div>`;
}

export function RemoveGateway({ node, done }) {
  const url = `/v1/nodes/${encodeURIComponent(node.site)}/${encodeURIComponent(node.name)}`;
  return html`
    <${Confirm} word="Remove…" title=${`Remove ${nameOf(node)}?`} yes="Remove" no="Keep it"
      act=${() => remove(url)} done=${done}>
      Its connection ends at once and it is refused from then on; to come back it has to join
      again. What the hub has of it stays; what it has not sent yet stays on its disk.
    <//>`;
}
