// What is answered where something cannot be done: to a whole request, or to one transaction.

/** A request that is not served at all. `more` are further members of the problem. */
export class RequestError extends Error {
  constructor(status, code, detail, more = {}) {
    super(detail);
    Object.assign(this, { status, code, more });
  }

  toJSON() {
    const { status, code, message: detail, more } = this;
    return { type: `urn:driftline:${code}`, title: code.replaceAll('_', ' '), status, code, detail, ...more };
  }
}

/** A transaction that cannot take effect. `rows` are keys of the rows concerned. */
export class Refused extends Error {
  constructor(code, detail, rows = []) {
    super(detail);
    Object.assign(this, { code, rows });
  }
}

/** A transaction that may come again later. */
export class Held extends Error {}

export function problem(code, detail, rows = []) {
  const named = rows.map(({ table, id }) => ({ table, id }));
  return { type: `urn:driftline:${code}`, code, title: code.replaceAll('_', ' '), detail, rows: named };
}
