// The topics that were seen, as a tree of their levels. It is bounded, because whoever publishes
// chooses the topics: once it is full, topics that come later are counted and left out, and those
// that are there go on. Payloads are hostile; here they are texts, and stay texts.

/** Levels of a tree: more is slow on a phone, and nobody reads it. */
export const LEVELS_MAX = 5_000;
/** A small tree is seen whole at once; what comes later waits until it is opened. */
const OPEN_AT_FIRST = 60;
/** Characters of a payload in a line of the tree. */
const LINE = 160;
/** Bytes that are not text are shown as digits, up to so many. */
const DIGITS = 64;

const order = new Intl.Collator('en', { numeric: true }).compare;

class Level {
  constructor(name, path, parent, isOpen) {
    Object.assign(this, { name, path, parent, isOpen });
    this.depth = parent ? parent.depth + 1 : 0;
    this.children = new Map();
    this.sorted = null;
    /** Messages of this topic and of all below it. */
    this.messages = 0;
    /** Topics below that have a message, this one included. */
    this.topics = 0;
    this.last = null;
    this.isRetained = false;
    /** In which round the node told so. */
    this.round = 0;
  }

  /** What is below, in the order in which people look for it. */
  inOrder() {
    this.sorted ??= [...this.children.values()].sort((a, b) => order(a.name, b.name));
    return this.sorted;
  }
}

export class TopicTree {
  constructor(most = LEVELS_MAX) {
    this.most = most;
    this.root = new Level('', null, null, true);
    this.levels = 0;
    /** Messages whose topic is not in the tree because it is full. */
    this.leftOut = 0;
    this.round = 0;
    this.isReady = false;
  }

  /** A stream begins: first it tells what is retained, which is no message of now. */
  begin() {
    this.round += 1;
    this.isReady = false;
  }

  /** All that is retained has been told: what was before and was not told again is no more. */
  ready() {
    this.isReady = true;
    for (const level of this.all()) level.isRetained &&= level.round === this.round;
  }

  /** Takes a message as the node tells it. */
  add(message) {
    const names = message.topic.split('/');
    const missing = this.#missing(names);
    if (missing > 0 && this.levels + missing > this.most) {
      this.leftOut += 1;
      return;
    }
    const level = this.#grow(names);
    const isNew = level.last === null;
    if (isNew || this.isReady || message.at >= level.last.at) level.last = message;
    if (message.retain) {
      level.isRetained = message.bytes > 0;
      level.round = this.round;
    }
    for (let at = level; at; at = at.parent) {
      if (this.isReady) at.messages += 1;
      if (isNew) at.topics += 1;
    }
  }

  #missing(names) {
    let at = this.root;
    for (let depth = 0; depth < names.length; depth += 1) {
      at = at.children.get(names[depth]);
      if (!at) return names.length - depth;
    }
    return 0;
  }

  #grow(names) {
    let at = this.root;
    for (const name of names) {
      let next = at.children.get(name);
      if (!next) {
        const path = at.path === null ? name : `${at.path}/${name}`;
        next = new Level(name, path, at, this.levels < OPEN_AT_FIRST);
        at.children.set(name, next);
        at.sorted = null;
        this.levels += 1;
      }
      at = next;
    }
    return at;
  }

  /** The level of a topic, if it is there. */
  find(topic) {
    let at = this.root;
    for (const name of topic.split('/')) at = at?.children.get(name);
    return at;
  }

  /** All levels, in no particular order. */
  * all() {
    const waiting = [...this.root.children.values()];
    while (waiting.length > 0) {
      const level = waiting.pop();
      yield level;
      waiting.push(...level.children.values());
    }
  }

  /** Opens or closes all levels. */
  openAll(isOpen) {
    for (const level of this.all()) level.isOpen = isOpen;
  }

  /** The first `most` lines that are to be seen, and how many there are. */
  lines(most) {
    const [shown, waiting] = [[], [...this.root.inOrder()].reverse()];
    let total = 0;
    while (waiting.length > 0) {
      const level = waiting.pop();
      total += 1;
      if (shown.length < most) shown.push(level);
      if (level.isOpen && level.children.size > 0) waiting.push(...[...level.inOrder()].reverse());
    }
    return { shown, total };
  }
}

/** What cannot be seen is shown by its sign, so that a line stays one line. */
const visible = (text) => text.replace(/[\u0000-\u001f\u007f]/g, (c) => (
  c === '\u007f' ? '\u2421' : String.fromCharCode(0x2400 + c.charCodeAt(0))
));

/** Bytes as digits. */
function digits(base64) {
  const all = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const shown = [...all.subarray(0, DIGITS)].map((byte) => byte.toString(16).padStart(2, '0'));
  return shown.join(' ') + (all.length > DIGITS ? ' …' : '');
}

/** A payload in one line. */
export function payloadLine(message) {
  if (message.bytes === 0) return '';
  if (message.text === undefined) return digits(message.base64);
  const text = visible(message.text.slice(0, LINE));
  return message.cut || message.text.length > LINE ? `${text}…` : text;
}

/** All of a payload that the node has told. */
export const payloadText = (message) => (
  message.text === undefined ? digits(message.base64) : message.text
);
