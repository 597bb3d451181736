// Times as people read them. The API speaks RFC 3339 in UTC; pages show the site's time and always
// say its offset. Ages are counted on the node's clock, which answers tell us (`as_of`), because
// the clock of the computer in front of the reader may be wrong.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** The node's clock, as far as its answers tell it. */
export const clock = {
  ahead: 0,
  observe(iso, local = Date.now()) {
    const time = Date.parse(iso);
    if (Number.isFinite(time)) clock.ahead = time - local;
  },
  now() {
    return Date.now() + clock.ahead;
  },
};

/** So many times longer than an answer took nothing is asked. */
const REST = 10;

/** How long to wait before asking again: what takes long to answer is asked more rarely. */
export const pauseAfter = (took, every) => Math.max(every, REST * took);

/** `3 d 4 h`, `2 h 5 min`, `12 s`: the two greatest parts, the second only where it matters. */
export function duration(ms) {
  const span = Math.abs(ms);
  if (span < MINUTE) return `${Math.floor(span / SECOND)} s`;
  if (span < HOUR) return `${Math.floor(span / MINUTE)} min`;
  const [big, unit, small, part] = span < DAY
    ? [HOUR, 'h', MINUTE, 'min'] : [DAY, 'd', HOUR, 'h'];
  const whole = Math.floor(span / big);
  const rest = Math.floor((span - whole * big) / small);
  return rest > 0 && whole < 10 ? `${whole} ${unit} ${rest} ${part}` : `${whole} ${unit}`;
}

/** `3 min ago`, `just now`, `in 2 h`. */
export function ago(iso, now = clock.now()) {
  const time = Date.parse(iso);
  if (!Number.isFinite(time)) return 'never';
  const age = now - time;
  if (Math.abs(age) < 2 * SECOND) return 'just now';
  const span = Math.abs(age);
  const words = span < MINUTE ? duration(span)
    : span < HOUR ? `${Math.floor(span / MINUTE)} min`
      : span < 2 * DAY ? `${Math.floor(span / HOUR)} h` : `${Math.floor(span / DAY)} d`;
  return age > 0 ? `${words} ago` : `in ${words}`;
}

const formats = new Map();

function parts(date, zone) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat('en-GB', {
      timeZone: zone, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit',
      hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'longOffset',
    }));
  }
  const found = formats.get(zone).formatToParts(date);
  return Object.fromEntries(found.map(({ type, value }) => [type, value]));
}

/** `UTC+01:00`; the zone is the browser's where none is given. */
export function offset(date = new Date(clock.now()), zone = undefined) {
  const name = parts(date, zone).timeZoneName.replace('GMT', 'UTC');
  return name === 'UTC' ? 'UTC+00:00' : name;
}

/** `2026-11-20 17:38:28 UTC+01:00`. */
export function stamp(iso, zone = undefined) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return '';
  const p = parts(date, zone);
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second} ${offset(date, zone)}`;
}

/** `2026-11-20 16:38:28 UTC`, for whoever compares with a log or another site. */
export function utc(iso) {
  return stamp(iso, 'UTC').replace('UTC+00:00', 'UTC');
}

/** `2026-11-20 17:38:28`, where the offset stands on the page already. */
export function local(iso, zone = undefined) {
  return stamp(iso, zone).slice(0, 19);
}

/** `17:38` today, `20 Nov 17:38` this year, with the year otherwise. */
export function moment(iso, now = clock.now(), zone = undefined) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return '';
  const [p, today] = [parts(date, zone), parts(new Date(now), zone)];
  const hour = `${p.hour}:${p.minute}`;
  if (p.year === today.year && p.month === today.month && p.day === today.day) return hour;
  const day = `${Number(p.day)} ${MONTHS[Number(p.month) - 1]}`;
  return p.year === today.year ? `${day} ${hour}` : `${day} ${p.year} ${hour}`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Labels for the ticks of a time axis, seconds since 1970, `step` seconds apart. */
export function tickLabels(ticks, step, zone = undefined) {
  let day = '';
  return ticks.map((tick) => {
    const p = parts(new Date(tick * SECOND), zone);
    const date = `${Number(p.day)} ${MONTHS[Number(p.month) - 1]}`;
    if (step >= DAY / SECOND) return date;
    const time = step >= 60 ? `${p.hour}:${p.minute}` : `${p.hour}:${p.minute}:${p.second}`;
    const label = day === date ? time : `${time}\n${date}`;
    day = date;
    return label;
  });
}
