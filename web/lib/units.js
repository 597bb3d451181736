// Numbers and units as people read them. Units arrive as UCUM codes where the sender knew them and
// as plain text otherwise; what is not known is shown as it came.

const KNOWN = {
  Cel: '°C', '[degF]': '°F', deg: '°', Ohm: 'Ω', kOhm: 'kΩ', MOhm: 'MΩ', '[pH]': 'pH',
  'kW.h': 'kWh', 'W.h': 'Wh', 'MW.h': 'MWh', 'A.h': 'Ah', l: 'L', ml: 'mL', 1: '', '10*-6': 'ppm',
  '[ppm]': 'ppm', '[NTU]': 'NTU', '{NTU}': 'NTU', "'": '′', "''": '″',
};
/** An exponent in raised digits. */
const raise = (text) => [...text].map((c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[c])).join('');
/** Between the groups of a long number: narrow, and never the end of a line. */
const GROUP = '\u202f';

/** `Cel` is °C, `m3/h` m³/h, `umol/l` µmol/L. */
export function unitText(code) {
  const unit = code ?? '';
  if (Object.hasOwn(KNOWN, unit)) return KNOWN[unit];
  if (/\s/.test(unit)) return unit;
  return unit.split('/').map(factors).join('/');
}

function factors(side) {
  return side.split('.').map(atom).join('·');
}

function atom(text) {
  if (Object.hasOwn(KNOWN, text) && text !== '1') return KNOWN[text];
  const plain = text.replace(/^\{(.*)\}$/, '$1');
  const micro = plain.replace(/^u(?=(m|s|S|A|V|W|g|l|L|mol|Pa|F|H)\d?$)/, 'µ');
  const litre = micro.replace(/^(m|µ)?l$/, '$1L');
  return litre.replace(/^(\[?[A-Za-zµ]+\]?)(-?[1-6])$/, (_, name, exponent) => (
    name + raise(exponent)
  ));
}

/** A whole number with groups of three. */
export function count(number) {
  const digits = String(Math.trunc(Math.abs(number)));
  const grouped = digits.length < 5 ? digits : digits.replace(/\B(?=(\d{3})+$)/g, GROUP);
  return number < 0 ? `−${grouped}` : grouped;
}

/** `1 entry`, `12 345 entries`. */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** The beginning of an identity, enough to tell a few apart; the whole belongs into a title. */
export function shortId(id) {
  const text = String(id ?? '');
  return text.length > 20 ? `${text.slice(0, 12)}…` : text;
}

/** A measured value: at most six digits that mean something, no noise of binary fractions. */
export function valueText(value) {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value !== 'number') return String(value ?? '–');
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e12) return count(value);
  if (size >= 1e9 || size < 1e-4) {
    const [digits, exponent] = value.toExponential(3).split('e');
    return `${digits.replace('-', '−')}×10${raise(String(Number(exponent)))}`;
  }
  const [whole, fraction] = String(Number(size.toPrecision(6))).split('.');
  const sign = value < 0 ? '−' : '';
  return sign + count(Number(whole)) + (fraction ? `.${fraction}` : '');
}

/** `12.4 GB`, in steps of 1000 as disks are sold. */
export function bytes(size) {
  const steps = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let [rest, step] = [Math.max(0, size), 0];
  while (rest >= 999.5 && step < steps.length - 1) [rest, step] = [rest / 1000, step + 1];
  const digits = step === 0 || rest >= 99.5 ? 0 : 1;
  return `${rest.toFixed(digits)} ${steps[step]}`;
}
