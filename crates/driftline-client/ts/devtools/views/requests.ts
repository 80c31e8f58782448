/** The requests of this tab for the space, the latest first. */

import { bytes, duration, plural, time } from '../model/format.js';
import { REQUESTS_MAX, type Seen } from '../network/requests.js';
import type { State } from '../state.js';
import { type Child, h, type Node } from './dom.js';
import { empty, table } from './pieces.js';

export function requests({ requests, waiting }: State): Node[] {
  if (requests.length === 0) {
    const text =
      waiting.status.sender === false
        ? 'Another tab of this browser sends for this one: its requests are seen there.'
        : 'Requests for this space are listed as they go, with their status, sizes and timing.';
    return [empty('No request yet', text)];
  }
  const latest = [...requests].sort((a, b) => b.at - a.at);
  const columns = [
    { title: 'Time', kind: 'mono', cell: ({ at }: Seen) => time(at) },
    { title: 'What', cell: what },
    { title: 'Status', cell: status },
    { title: 'Sent', kind: 'number wide', cell: ({ sentBytes }: Seen) => size(sentBytes) },
    { title: 'Received', kind: 'number wide', cell: ({ gotBytes }: Seen) => size(gotBytes) },
    { title: 'Took', kind: 'number', cell: took },
  ];
  return [
    h('div', { key: 'totals' }, totals(requests)),
    h(
      'div',
      { key: 'table' },
      table('Requests', columns, latest, ({ id }) => String(id)),
    ),
    h('p', { key: 'hint', class: 'hint' }, `The last ${REQUESTS_MAX} are kept.`),
  ];
}

const size = (count: number | null) => (count === null ? '' : bytes(count));

function what({ what, transactions, messages }: Seen): Child {
  const carried = transactions ? plural(transactions, 'transaction') : '';
  const heard = messages === null ? '' : plural(messages, 'message');
  return [h('span', { class: 'name' }, what), h('small', null, carried || heard)];
}

function status({ status, note, retryAfterS, isOpen, isSimulated }: Seen): Child {
  const kind = isOpen ? 'open' : status !== null && status < 400 ? 'good' : 'bad';
  const word = status === null ? (note ?? '…') : String(status);
  const more = [status !== null && note, retryAfterS !== null && `retry after ${retryAfterS} s`]
    .filter(Boolean)
    .join(', ');
  return [
    h('span', { class: `status ${kind}` }, word),
    isSimulated && h('span', { class: 'tag' }, 'simulated'),
    more && h('small', null, more),
  ];
}

function took({ ms, isOpen, method }: Seen): Child {
  if (ms !== null) return duration(ms);
  return isOpen && method === 'LIVE' ? 'open' : isOpen ? '…' : '';
}

function totals(requests: readonly Seen[]): Node {
  const asked = requests.filter(({ method }) => method !== 'LIVE');
  const failed = asked.filter(({ status, isOpen }) => !isOpen && (status === null || status >= 400));
  const sum = (of: 'sentBytes' | 'gotBytes') => requests.reduce((total, seen) => total + (seen[of] ?? 0), 0);
  const messages = requests.reduce((total, { messages }) => total + (messages ?? 0), 0);
  const figures = [
    ['requests', String(asked.length)],
    ['failed', String(failed.length)],
    ['sent', bytes(sum('sentBytes'))],
    ['received', bytes(sum('gotBytes'))],
    ['live messages', String(messages)],
  ];
  const shown = figures.map(([name, value]) =>
    h('div', null, h('dt', null, name), h('dd', { class: 'number' }, value)),
  );
  return h('dl', { class: 'figures small' }, shown);
}
