// Who may look: a token is exchanged for a session cookie that scripts cannot read. `Gate` shows
// the page to whoever is signed in and the form to everybody else, also when a session ends midway.
// An address with `#login=CODE`, as `token login` prints it, signs in by itself, once.

import { html, useEffect, useState } from './ui.js';
import { get, onSignedOut, post, remove } from './api.js';

const PROGRAMS = { gateway: 'holdfast-edge', hub: 'holdfast-hub' };

/** Takes a code out of the address, so that it stays in no history and is not sent anywhere else. */
function takeCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get('login');
  if (code !== null) history.replaceState(null, '', location.pathname + location.search);
  return code;
}

/** Shows `page` with the session, or the way to get one. */
export function Gate({ kind, command, page }) {
  const [state, set] = useState({ session: undefined, problem: null });
  const done = (session) => set({ session, problem: null });
  const ask = () => get('/v1/session').then(
    done,
    (problem) => set({ session: null, problem: problem.status === 401 ? null : problem }),
  );
  const redeem = (code) => post('/v1/session', { code }).then(
    done,
    (problem) => set({ session: null, problem }),
  );
  useEffect(() => {
    const code = takeCode();
    if (code === null) ask();
    else redeem(code);
    const pasted = () => {
      const another = takeCode();
      if (another !== null) redeem(another);
    };
    addEventListener('hashchange', pasted);
    const forget = onSignedOut(() => set((before) => ({ ...before, session: null })));
    return () => {
      removeEventListener('hashchange', pasted);
      forget();
    };
  }, []);
  const signOut = async () => {
    try {
      await remove('/v1/session');
      set({ session: null, problem: null });
    } catch (problem) {
      set((before) => ({ ...before, problem }));
    }
  };
  if (state.session === undefined) return html`<p class="waiting">Loading…</p>`;
  if (state.session) {
    const Page = page;
    return html`<${Page} session=${state.session} signOut=${signOut} />`;
  }
  return html`<${SignIn} kind=${kind} command=${command} first=${state.problem} done=${done} />`;
}

function SignIn({ kind, command, first, done }) {
  const [token, setToken] = useState('');
  const [refusal, setProblem] = useState(null);
  const problem = refusal ?? first;
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      done(await post('/v1/session', { token: token.trim() }));
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
    }
  };
  return html`
    <main class="sign-in">
      <form class="card" onSubmit=${submit}>
        <h1><img src="icon.svg" alt="" width="28" height="28" /> Holdfast ${kind}</h1>
        <label for="token">Access token</label>
        <input id="token" type="password" autocomplete="current-password" spellcheck=${false}
          required autofocus value=${token} aria-describedby="token-help"
          aria-invalid=${problem ? 'true' : 'false'}
          onInput=${(event) => setToken(event.currentTarget.value)} />
        ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
        <button class="primary" disabled=${busy}>${busy ? 'Signing in…' : 'Sign in'}</button>
        <div id="token-help" class="help">
          <p>Easier: on the machine of this ${kind}, <code>${PROGRAMS[kind]} token login</code>
            prints an address that signs you in.</p>
          <p>The administrator's token is in the file <code>admin.token</code> in the data
            directory of this ${kind}.</p>
          <p>For somebody who should only look, make another:</p>
          <pre><code>${command}</code></pre>
        </div>
      </form>
    </main>`;
}
