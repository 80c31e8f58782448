// The part of JSON Schema (2020-12) that docs/openapi.json uses. A keyword that is not here is a mistake, and not passed over.

const NOTES = new Set(['contentEncoding', 'description', 'default', '$ref']);

/** Where a value is not of a schema: sentences, none where it is. `resolve` follows a `$ref`. */
export function violations(schema, value, resolve, path = 'it') {
  const at = (inner, found, name) => violations(inner, found, resolve, `${path}${name}`);
  const known = schema.$ref === undefined ? [] : at(resolve(schema.$ref), value, '');
  const keywords = Object.entries(schema).filter(([keyword]) => !NOTES.has(keyword));
  const found = keywords.flatMap(([keyword, rule]) => {
    const check = KEYWORDS[keyword];
    if (check === undefined) throw new Error(`the checker does not know the keyword ${keyword}`);
    return check(rule, value, { at, path, schema });
  });
  return [...known, ...found];
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const show = (value) => (JSON.stringify(value) ?? 'absent').slice(0, 200);

const IS = {
  string: (value) => typeof value === 'string',
  integer: Number.isInteger,
  number: Number.isFinite,
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
  array: Array.isArray,
  object: isObject,
};

const must = (holds, path, what, value) => (holds ? [] : [`${path} ${what}: ${show(value)}`]);

const KEYWORDS = {
  type: (type, value, { path }) =>
    must(
      [type].flat().some((name) => IS[name](value)),
      path,
      `is not of type ${type}`,
      value,
    ),
  enum: (values, value, { path }) => must(values.includes(value), path, `is none of ${values}`, value),
  const: (wanted, value, { path }) => must(value === wanted, path, `is not ${wanted}`, value),
  pattern: (pattern, value, { path }) =>
    must(typeof value !== 'string' || new RegExp(pattern, 'u').test(value), path, `is not like ${pattern}`, value),
  minimum: (minimum, value, { path }) =>
    must(typeof value !== 'number' || value >= minimum, path, `is below ${minimum}`, value),
  maximum: (maximum, value, { path }) =>
    must(typeof value !== 'number' || value <= maximum, path, `is above ${maximum}`, value),
  minItems: (count, value, { path }) =>
    must(!Array.isArray(value) || value.length >= count, path, 'is too short', value),
  maxItems: (count, value, { path }) =>
    must(!Array.isArray(value) || value.length <= count, path, 'is too long', value),
  required: (names, value, { path }) =>
    isObject(value)
      ? names.filter((name) => !(name in value)).map((name) => `${path} lacks ${name}: ${show(value)}`)
      : [],
  properties: (properties, value, { at }) =>
    isObject(value)
      ? Object.entries(properties).flatMap(([name, schema]) =>
          name in value ? at(schema, value[name], `.${name}`) : [],
        )
      : [],
  additionalProperties(rule, value, { at, path, schema }) {
    const others = isObject(value) ? Object.keys(value).filter((name) => !(name in (schema.properties ?? {}))) : [];
    if (rule === false) return others.map((name) => `${path} has ${name}, of which nothing is said`);
    return others.flatMap((name) => at(rule, value[name], `.${name}`));
  },
  prefixItems: (schemas, value, { at }) =>
    Array.isArray(value) ? schemas.slice(0, value.length).flatMap((schema, i) => at(schema, value[i], `[${i}]`)) : [],
  items(rule, value, { at, path, schema }) {
    const rest = Array.isArray(value) ? value.slice(schema.prefixItems?.length ?? 0) : [];
    if (rule === false) return must(rest.length === 0, path, 'has more items', value);
    return rest.flatMap((item, i) => at(rule, item, `[${i}]`));
  },
  anyOf: (schemas, value, { at, path }) =>
    must(
      schemas.some((schema) => at(schema, value, '').length === 0),
      path,
      'is none of what it may be',
      value,
    ),
  oneOf(schemas, value, { at, path }) {
    const fits = schemas.filter((schema) => at(schema, value, '').length === 0).length;
    return must(fits === 1, path, `is ${fits} of the things of which it must be one`, value);
  },
};
