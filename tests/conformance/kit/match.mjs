// Whether an answer is what a vector expects. An object expects its own members and lets others be; a list is compared item by
// item and has no others. In the place of a value may stand:
//
//   {"$match": "^[0-9a-f]{16}$"}   a text that matches
//   {"$type": "number"}            any value of this type (string, number, boolean, object, array, null)
//   {"$absent": true}              no such member
//   {"$maybe": value}              no such member, or one that is this
//   {"$not": value}                anything else
//   {"$some": [value, …]}          a list that has each of these somewhere
//   {"$length": 3}                 a list of so many

/** Where `found` differs from `wanted`: a sentence, or nothing. */
export function differs(wanted, found, path = 'it') {
  if (wanted === null || typeof wanted !== 'object') {
    return Object.is(wanted, found) ? undefined : `${path} is ${show(found)} and not ${show(wanted)}`;
  }
  const [matcher] = Object.keys(wanted).filter((name) => name.startsWith('$'));
  if (matcher !== undefined) return MATCHERS[matcher](wanted[matcher], found, path);
  if (Array.isArray(wanted)) return listDiffers(wanted, found, path);
  if (found === null || typeof found !== 'object' || Array.isArray(found))
    return `${path} is ${show(found)} and no object`;
  return first(Object.entries(wanted), ([name, value]) => differs(value, found[name], `${path}.${name}`));
}

function listDiffers(wanted, found, path) {
  if (!Array.isArray(found)) return `${path} is ${show(found)} and no list`;
  if (found.length !== wanted.length)
    return `${path} has ${found.length} items and not ${wanted.length}: ${show(found)}`;
  return first([...wanted.keys()], (i) => differs(wanted[i], found[i], `${path}[${i}]`));
}

function first(items, check) {
  for (const item of items) {
    const difference = check(item);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

const typeOf = (value) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);

const MATCHERS = {
  $match: (pattern, found, path) =>
    typeof found === 'string' && new RegExp(pattern, 'u').test(found)
      ? undefined
      : `${path} is ${show(found)}, and not like ${pattern}`,
  $type: (type, found, path) => (typeOf(found) === type ? undefined : `${path} is ${show(found)} and no ${type}`),
  $absent: (_, found, path) => (found === undefined ? undefined : `${path} is ${show(found)} and should not be there`),
  $maybe: (wanted, found, path) => (found === undefined ? undefined : differs(wanted, found, path)),
  $not: (unwanted, found, path) => (differs(unwanted, found, path) ? undefined : `${path} is ${show(found)}`),
  $some: (wanted, found, path) =>
    first(wanted, (value) => {
      const has = Array.isArray(found) && found.some((item) => differs(value, item) === undefined);
      return has ? undefined : `${path} lacks ${show(value)}: ${show(found)}`;
    }),
  $length: (length, found, path) =>
    Array.isArray(found) && found.length === length
      ? undefined
      : `${path} has ${found?.length} items and not ${length}`,
};

const SHOWN_CHARS = 300;

function show(value) {
  const text = value === undefined ? 'absent' : JSON.stringify(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}
