// The one place that knows which library draws the pages: preact, with htm as its template text.
// `html` never writes attributes as text, so the content policy without inline styles holds.

import { h, render } from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export { render };
export {
  useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState,
} from '../vendor/hooks.js';

export const html = htm.bind(h);

/** Class names, without the ones that do not apply. */
export function classes(...names) {
  return names.filter(Boolean).join(' ');
}
