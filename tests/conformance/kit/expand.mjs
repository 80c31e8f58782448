// What a vector may say instead of writing it out: values of earlier answers, and lists and texts too long to write.
//
//   "${name}"                                  what a step kept under this name, or `space`
//   {"$repeat": 3, "item": …}                  in a list: the item so many times, with ${n} in its texts and {"$n": 5} for numbers
//   {"$text": "x", "times": 201}               a text
//   {"$deep": 65}                              lists within lists
//   {"$now": 3600000}                          milliseconds since 1970, so many from now
//   {"$raw": "{\"schema\": 1}"}                JSON that is to be sent as it stands

const RAW = '\u0000raw\u0000';

/** A value with all of these worked out. `names` maps names to values. */
export function expand(value, names) {
  if (typeof value === 'string') return fill(value, names);
  if (Array.isArray(value))
    return value.flatMap((item) => (isRepeat(item) ? repeated(item, names) : [expand(item, names)]));
  if (value === null || typeof value !== 'object') return value;
  if ('$text' in value) return fill(value.$text, names).repeat(value.times);
  if ('$deep' in value) return JSON.parse('['.repeat(value.$deep) + ']'.repeat(value.$deep));
  if ('$now' in value) return Date.now() + value.$now;
  if ('$n' in value) return names.n + value.$n;
  if ('$raw' in value) return RAW + fill(value.$raw, names);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [fill(name, names), expand(member, names)]));
}

const isRepeat = (item) => item !== null && typeof item === 'object' && '$repeat' in item;

const repeated = ({ $repeat: times, item }, names) =>
  Array.from({ length: times }, (_, i) => expand(item, { ...names, n: i + 1 }));

/** `${n:12}` is the number in twelve digits; a text that is nothing but one name stands for the value itself. */
function fill(text, names) {
  const lookUp = (name) => {
    if (!(name in names)) throw new Error(`nothing is known by the name ${name}`);
    return names[name];
  };
  const whole = /^\$\{(\w+)\}$/.exec(text);
  if (whole) return lookUp(whole[1]);
  return text.replace(/\$\{(\w+)(?::(\d+))?\}/g, (_, name, digits) =>
    String(lookUp(name)).padStart(Number(digits ?? 0), '0'),
  );
}

/** JSON of an expanded value. */
export function write(value) {
  const raws = [];
  const text = JSON.stringify(value, (_, member) => {
    if (typeof member !== 'string' || !member.startsWith(RAW)) return member;
    return `${RAW}${raws.push(member.slice(RAW.length)) - 1}`;
  });
  return raws.reduce((all, raw, i) => all.replace(JSON.stringify(`${RAW}${i}`), () => raw), text);
}
