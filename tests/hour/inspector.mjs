// What stands in the inspector of a page, and what the engine of that page says at the same moment.

/**
 * In the page. Chooses transactions in the inspector one after the other and reads why they wait; each glance is one moment. Returns
 * `{ why }` where there is nothing to read.
 */
export async function readInspector(most) {
  const DRAWN_MS = 4_000;
  const root = document.querySelector('.inspector-tab > div')?.shadowRoot;
  if (!root) return { why: 'the page shows no inspector' };
  if (document.hidden) return { why: 'the page is hidden' };
  const db = window.driftline;
  const nodeOf = (key) => root.querySelector(`svg [data-key="${key}"]`);
  const detailOf = (key) => root.querySelector(`aside.detail[data-key="${key}"]`);
  const plain = ({ key, state, waits_on, problem }) => ({ key, state, waits_on, problem });

  const glance = (key) => {
    const outbox = db.outbox().map(plain);
    return {
      at: Date.now(),
      status: db.status,
      outbox,
      header: root.querySelector('header .sentence')?.textContent ?? '',
      entry: outbox.find((one) => one.key === key),
      sentence: detailOf(key)?.querySelector('.why')?.textContent ?? '',
    };
  };
  // The inspector has asked for this frame before, and draws in it.
  const choose = async (key) => {
    nodeOf(key)?.dispatchEvent(new MouseEvent('click', { bubbles: true }));
    await new Promise(requestAnimationFrame);
  };
  /** What has come to wait a moment ago is drawn a moment later. */
  const read = async (key) => {
    const until = Date.now() + DRAWN_MS;
    for (;;) {
      await choose(key);
      const seen = glance(key);
      if (!seen.entry || detailOf(key) || Date.now() > until) return seen;
    }
  };

  const outbox = db.outbox();
  const isDrawn = root.querySelector('.graph .more') === null ? () => true : ({ key }) => nodeOf(key) !== null;
  const step = Math.max(1, Math.ceil(outbox.length / most));
  const chosen = outbox.filter(({ state }, index) => index % step === 0 || state === 'parked').filter(isDrawn);
  // As it stands, before anything is clicked that has it drawn anew.
  const glances = [glance('')];
  for (const { key } of chosen) glances.push(await read(key));
  const waiting = new Set(glances.at(-1).outbox.map(({ key }) => key));
  const missing = chosen.map(({ key }) => key).filter((key) => waiting.has(key) && !nodeOf(key));
  return { glances, missing, text: `${document.body.innerText}\n${root.querySelector('.app').innerText}` };
}
