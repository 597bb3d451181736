// A table: columns say how to draw a cell, rows may stand in groups, a row may be opened. A row is
// opened by clicking anywhere on it, by keyboard through the button in its first cell. Long tables
// start short and grow on demand, so that a page of many thousand rows stays quick. Where there is
// little room each row is drawn as a card (style sheet).

import { classes, html, useState } from './ui.js';

const SHOWN = 400;

/**
 * `first`: how many rows are shown at first; `columns`: [{ name, cell(row), class, told }], `told` where a card has to say the name; `groups`: [{ key, head, rows }]; `keyOf(row)`;
 * `open(row)` and `opened` (a key) where rows can be opened.
 */
export function Table({ label, columns, groups, keyOf, open, opened, first = SHOWN }) {
  const [shown, setShown] = useState(first);
  let left = shown;
  const visible = groups.map((group) => {
    const rows = group.rows.slice(0, left);
    left -= rows.length;
    return { ...group, rows };
  });
  const total = groups.reduce((sum, group) => sum + group.rows.length, 0);
  return html`
    <table aria-label=${label}>
      <thead><tr>${columns.map((column) => html`
        <th key=${column.name} scope="col" class=${column.class}>${column.name}</th>`)}</tr></thead>
      ${visible.filter((group) => group.rows.length > 0).map((group) => html`
        <tbody key=${group.key}>
          ${group.head && html`<tr class="group">
            <th scope="rowgroup" colspan=${columns.length}>${group.head}</th></tr>`}
          ${group.rows.map((row) => html`<${Row} key=${keyOf(row)} row=${row} columns=${columns}
            open=${open} isOpen=${opened !== undefined && opened === keyOf(row)} />`)}
        </tbody>`)}
    </table>
    ${total > shown && html`<p class="more"><button onClick=${() => setShown(shown * 4)}>
      Show more (${total - shown} hidden)</button></p>`}`;
}

function Row({ row, columns, open, isOpen }) {
  const clicked = (event) => {
    // So that the focus comes back here when what is opened closes.
    event.currentTarget.querySelector('.opens').focus({ preventScroll: true });
    open(row);
  };
  const content = (column, at) => {
    const cell = column.cell(row);
    if (!open || at > 0) return cell;
    return html`<button class="opens" aria-expanded=${isOpen ? 'true' : 'false'}>${cell}</button>`;
  };
  return html`
    <tr class=${classes(open && 'openable', isOpen && 'opened')} onClick=${open && clicked}>
      ${columns.map((column, at) => html`
        <td key=${column.name} class=${column.class} data-name=${column.told && column.name}
          >${content(column, at)}</td>`)}
    </tr>`;
}
