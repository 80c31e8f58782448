// Pictures in the canvas app: pasted, dropped and chosen, with and without a network, and judged by the pixels that are on screen.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { openBrowser, ROOT, runDriftline, startNetwork, startProxy, startServer, tempDir, until } from './harness.mjs';
import { untilKeptForOffline } from './page.mjs';
import { bay, noise } from './pictures.mjs';

const APP = join(ROOT, 'www');
const PLACE = {
  schema: join(APP, 'server', 'schema.json'),
  migrations: join(APP, 'server', 'migrations'),
  staticDir: join(APP, 'dist'),
};
const BLOB = /^\/v1\/spaces\/[^/]+\/blobs\/[0-9a-f]{64}$/;
const OPTIONS = { viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' };

let server;
before(async () => {
  server = await startServer(PLACE);
});

const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

async function openUser() {
  const browser = await openBrowser({ options: OPTIONS });
  browsers.push(browser);
  return browser;
}

async function openCanvas(browser, url, space, token) {
  const page = await browser.context.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(`${url}/?space=${space}&debug=1${token ? `#token=${token}` : ''}`);
  await page.waitForFunction(() => window.driftline);
  await page.evaluate(() => window.driftline.loaded);
  return page;
}

/** Hands files to the page as the browser does for a paste or a drop. */
async function hand(page, how, files, text = '') {
  const told = files.map(({ name, type = 'image/png', bytes }) => [name, type, bytes.toString('base64')]);
  await page.evaluate(
    ([how, files, text]) => {
      const data = new DataTransfer();
      for (const [name, type, base64] of files) {
        const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
        data.items.add(new File([bytes], name, { type }));
      }
      if (text) data.setData('text/plain', text);
      const common = { bubbles: true, cancelable: true };
      const event =
        how === 'paste'
          ? new ClipboardEvent('paste', { clipboardData: data, ...common })
          : new DragEvent('drop', { dataTransfer: data, clientX: 500, clientY: 400, ...common });
      (how === 'paste' ? document.body : document.querySelector('.react-flow__pane')).dispatchEvent(event);
    },
    [how, told, text],
  );
}

const paste = (page, ...files) => hand(page, 'paste', files);
const drop = (page, ...files) => hand(page, 'drop', files);
const shown = (page) => page.locator('[data-testid=picture][data-state=shown] img');
const away = (page) => page.locator('[data-testid=picture-away]');
const notice = (page) => page.locator('[data-testid=notice]');

/** Size and hash of what each picture on screen shows, pixel by pixel. */
async function pixels(page, count = 1) {
  await until(`${count} pictures to be shown`, async () => (await shown(page).count()) === count);
  return await shown(page).evaluateAll((images) =>
    Promise.all(
      images.map(async (image) => {
        await image.decode();
        const { naturalWidth: width, naturalHeight: height } = image;
        const context = new OffscreenCanvas(width, height).getContext('2d');
        context.drawImage(image, 0, 0);
        const digest = await crypto.subtle.digest('SHA-256', context.getImageData(0, 0, width, height).data);
        return [width, height, btoa(String.fromCharCode(...new Uint8Array(digest)))].join(' ');
      }),
    ),
  );
}

const cards = (page) => page.evaluate(() => window.driftline.tables.card.query());
const isSaved = (page) =>
  page.evaluate(() => {
    const { state, files } = window.files.status;
    return state === 'saved' && files.state === 'saved' && window.driftline.outbox().length === 0;
  });
const untilSaved = (page) => until('all to be on the server', () => isSaved(page));
const status = (page) => page.evaluate(() => window.files.status);

/** Name, size, and the row of the picture of each card that the server has. */
const onServer = (space) =>
  server.query(
    `SELECT c.file, c.text, i.hash, i.bytes, i.width, i.height FROM card AS c
     LEFT JOIN image AS i ON i.space = c.space AND i.id = c.image JOIN _space AS s ON s.id = c.space AND s.name = '${space}'
     ORDER BY c.file`,
  );

test('v8_a_pasted_picture_is_shown_at_once_and_another_device_sees_the_same_pixels', async () => {
  const page = await openCanvas(await openUser(), server.url, 'pasted');
  await paste(page, { name: 'bay.png', bytes: bay(900, 600) });
  const [mine] = await pixels(page);
  assert.match(mine, /^900 600 /);
  const [{ width, height, file }] = await cards(page);
  assert.deepEqual([width, height, file], [480, 320, 'bay.png']);
  await untilSaved(page);
  const other = await openCanvas(await openUser(), server.url, 'pasted');
  assert.deepEqual(await pixels(other), [mine]);
  const [row] = await onServer('pasted');
  assert.deepEqual([row.file, row.width, row.height], ['bay.png', 900, 600]);
});

test('v8_the_clipboard_of_the_system_and_the_list_of_files_bring_pictures', async () => {
  const browser = await openUser();
  await browser.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await openCanvas(browser, server.url, 'chosen');
  await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const item = new ClipboardItem({ 'image/png': new Blob([bytes], { type: 'image/png' }) });
    await navigator.clipboard.write([item]);
  }, bay(300, 200).toString('base64'));
  await page.keyboard.press('Control+v');
  assert.match((await pixels(page))[0], /^300 200 /);
  const file = { name: 'chosen.png', mimeType: 'image/png', buffer: bay(120, 90) };
  const choose = async (page, ask) => {
    const asked = page.waitForEvent('filechooser');
    await page.evaluate(() => {}); // The page knows by now that the list of files is asked for here.
    await ask();
    const chooser = await asked;
    assert.equal(chooser.isMultiple(), true);
    await chooser.setFiles([file, { ...file, buffer: bay(90, 120) }]);
  };
  await choose(page, () => page.click('[data-testid=add-image]'));
  await pixels(page, 3);
  const other = await openCanvas(browser, server.url, 'chosen-by-key');
  await choose(other, () => other.keyboard.press('i'));
  await pixels(other, 2);
});

test('v8_what_is_no_picture_or_too_large_is_refused_in_a_sentence_and_takes_nothing_along', async () => {
  const page = await openCanvas(await openUser(), server.url, 'refused');
  await drop(
    page,
    { name: 'first.png', bytes: bay(300, 200) },
    { name: 'broken.png', bytes: Buffer.from('no picture at all') },
    { name: 'drawn.svg', type: 'image/svg+xml', bytes: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>') },
    { name: 'large.png', bytes: Buffer.alloc(32_000_001) },
    { name: 'second.png', bytes: bay(200, 200) },
  );
  await pixels(page, 2);
  const told = await notice(page).innerText();
  assert.equal(
    told,
    [
      '“broken.png” was not added. This browser cannot read it as a picture: it may be damaged.',
      '“drawn.svg” was not added. Only pictures that every browser shows are taken: PNG, JPEG, GIF, WebP and AVIF.',
      '“large.png” was not added. The file is larger than 32 MB, which is the most that the server takes.',
    ].join(' '),
  );
  const places = (await cards(page)).map(({ file, x, width }) => [file, x, width]).sort();
  const [[, x]] = places;
  assert.deepEqual(places, [
    ['first.png', x, 300],
    ['second.png', x + 324, 200],
  ]);
  await untilSaved(page);
  assert.deepEqual(
    (await onServer('refused')).map(({ file }) => file),
    ['first.png', 'second.png'],
  );
  // A canvas among pictures is still opened.
  const canvas = { nodes: [{ id: 'n', type: 'text', text: 'From a file', x: 0, y: 0, width: 200, height: 80 }] };
  await drop(page, { name: 'a.canvas', type: '', bytes: Buffer.from(JSON.stringify(canvas)) });
  await page.locator('[data-testid=card]', { hasText: 'From a file' }).waitFor();
});

test('v8_a_picture_added_offline_is_there_after_a_cold_start_offline_and_arrives_once', async () => {
  const network = await startNetwork(server.port);
  const browser = await openUser();
  const page = await openCanvas(browser, network.url, 'offline');
  await untilKeptForOffline(page);
  await network.cut(browser.context);
  await paste(page, { name: 'train.png', bytes: noise(800, 600) });
  const [mine] = await pixels(page);
  await until('it to be told', async () => (await status(page)).state === 'offline');
  await page.waitForFunction(() => window.driftline.outbox().every(({ state }) => state !== 'saving'));
  const words = await page.locator('[data-testid=status] .words').innerText();
  assert.equal(words, 'Offline · 1 change and 1 picture kept here');
  assert.match(
    await page.locator('[data-testid=files-waiting]').innerText(),
    /^1 picture, 1\.4 MB, is kept on this device/,
  );

  await browser.kill();
  await browser.reopen();
  await browser.context.setOffline(true);
  const again = await openCanvas(browser, network.url, 'offline');
  assert.deepEqual(await pixels(again), [mine], 'it is shown from this device');
  await network.restore(browser.context);
  await untilSaved(again);
  const rows = await onServer('offline');
  assert.deepEqual(
    rows.map(({ file, width, height }) => [file, width, height]),
    [['train.png', 800, 600]],
  );
  assert.equal(await again.locator('[data-testid=files]').count(), 0);
  const other = await openCanvas(await openUser(), network.url, 'offline');
  assert.deepEqual(await pixels(other), [mine]);
});

test('v8_a_server_killed_in_mid_upload_has_the_picture_and_its_card_once', async () => {
  const proxy = await startProxy(server.port);
  let killing;
  proxy.meddle = async ({ method, path }, pass) => {
    if (!BLOB.test(path)) return await pass();
    if (method === 'PATCH') killing ??= server.kill();
    await killing;
    return await pass();
  };
  const page = await openCanvas(await openUser(), `http://127.0.0.1:${proxy.port}`, 'killed');
  await paste(page, { name: 'long.png', bytes: noise(900, 900) });
  const [mine] = await pixels(page);
  await until('the server to be killed', () => killing !== undefined);
  await killing;
  await until('the page to notice', async () => (await status(page)).state === 'offline');
  await server.restart();
  await untilSaved(page);
  assert.equal((await onServer('killed')).length, 1);
  const images = await server.query(
    "SELECT count(*) AS n FROM image JOIN _space AS s ON s.id = image.space WHERE s.name = 'killed'",
  );
  assert.deepEqual(images, [{ n: 1 }]);
  const other = await openCanvas(await openUser(), server.url, 'killed');
  assert.deepEqual(await pixels(other), [mine]);
});

/** As a server answers whose operator allows no more. */
const full = {
  status: 413,
  headers: { 'content-type': 'application/problem+json' },
  body: JSON.stringify({ code: 'blobs_full', detail: 'no room', status: 413 }),
};

test('v8_a_refused_picture_waits_for_a_decision_and_a_discarded_one_leaves_its_words', async () => {
  const proxy = await startProxy(server.port);
  proxy.meddle = async ({ method, path }, pass) => (BLOB.test(path) && method === 'PUT' ? full : await pass());
  const page = await openCanvas(await openUser(), `http://127.0.0.1:${proxy.port}`, 'parked');
  await paste(page, { name: 'kept.png', bytes: bay(300, 200) });
  await pixels(page);
  await paste(page, { name: 'given.png', bytes: bay(200, 200) });
  await pixels(page, 2);
  await page.evaluate(() => {
    const { card } = window.driftline.tables;
    const [given] = card.query(({ file }) => file === 'given.png');
    card.update(given.id, { text: 'The old pier' });
  });
  const parked = page.locator('[data-testid=parked-file]');
  await until('both to be held back', async () => (await parked.count()) === 2);
  assert.equal(await page.locator('[data-testid=status] .words').innerText(), 'Held back · 2');
  await page.waitForSelector('[data-testid=banner][data-code=parked]');
  const given = parked.filter({ hasText: 'The old pier' });
  assert.match(await given.innerText(), /There is no room for more files in this space\./);
  await given.locator('[data-testid=discard-file]').click();
  await page.click('[data-testid=ask-yes]');
  await until('one to be left', async () => (await parked.count()) === 1);
  await page.locator('[data-testid=card]', { hasText: 'The old pier' }).waitFor();
  proxy.meddle = undefined;
  await parked.locator('[data-testid=retry-file]').click();
  await untilSaved(page);
  const rows = await onServer('parked');
  assert.deepEqual(
    rows.map(({ file, text, width }) => [file, text, width]),
    [
      ['given.png', 'The old pier', null],
      ['kept.png', '', 300],
    ],
  );
});

test('v8_a_picture_is_described_by_its_card_and_undone_with_it', async () => {
  const page = await openCanvas(await openUser(), server.url, 'described');
  await paste(page, { name: 'IMG_4711.png', bytes: bay(400, 300) });
  await pixels(page);
  assert.equal(await shown(page).getAttribute('alt'), 'IMG_4711.png');
  await page.locator('[data-testid=picture]').dblclick();
  await page.keyboard.type('The bay at dusk');
  assert.equal(await page.locator('[data-testid=draft]').getAttribute('aria-label'), 'What the picture shows');
  await page.keyboard.press('Escape');
  assert.equal(await shown(page).getAttribute('alt'), 'The bay at dusk');
  assert.equal(await page.locator('figcaption').innerText(), 'The bay at dusk');
  assert.equal(await page.locator('.react-flow__node').getAttribute('aria-label'), 'The bay at dusk');
  await untilSaved(page);
  const undo = async () => {
    await page.keyboard.press('Control+z');
    return (await cards(page)).length;
  };
  await until('the card to be taken away', async () => (await undo()) === 0);
  await page.keyboard.press('Control+Shift+z');
  await pixels(page);
  await untilSaved(page);
});

test('v8_the_switch_to_work_offline_holds_pictures_back_too', async () => {
  const proxy = await startProxy(server.port);
  const asked = [];
  proxy.meddle = async ({ method, path }, pass) => {
    if (BLOB.test(path)) asked.push(method);
    return await pass();
  };
  const page = await openCanvas(await openUser(), `http://127.0.0.1:${proxy.port}`, 'switched');
  await untilSaved(page);
  await page.click('[data-testid=online-switch]');
  await paste(page, { name: 'bay.png', bytes: bay(300, 200) });
  await pixels(page);
  await page.locator('[data-testid=files-waiting]', { hasText: 'kept on this device' }).waitFor();
  assert.deepEqual(asked, []);
  await page.click('[data-testid=online-switch]');
  await untilSaved(page);
  assert.deepEqual(asked, ['HEAD', 'PUT']);
});

test('v8_a_page_is_not_left_unasked_while_a_picture_is_not_on_disk_yet', async () => {
  const page = await openCanvas(await openUser(), server.url, 'leaving');
  const asks = () =>
    page.evaluate(() => {
      const event = new Event('beforeunload', { cancelable: true });
      dispatchEvent(event);
      return event.defaultPrevented;
    });
  await page.evaluate(() => {
    const decode = window.createImageBitmap;
    const may = new Promise((go) => Object.assign(window, { go }));
    window.createImageBitmap = async (file) => {
      await may;
      return decode(file);
    };
  });
  assert.equal(await asks(), false);
  await paste(page, { name: 'slow.png', bytes: bay(300, 200) });
  await until('the page to ask', asks);
  await page.evaluate(() => window.go());
  await pixels(page);
  await until('the page to ask no more', async () => !(await asks()));
});

test('v8_a_picture_that_this_device_cannot_keep_is_told_and_makes_no_card', async () => {
  const browser = await openUser();
  // The browser counts on the room that it found for a while, so that it has to be short of it from the beginning.
  const disk = await browser.context.newCDPSession(await browser.context.newPage());
  await disk.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: 3_000_000 });
  const page = await openCanvas(browser, server.url, 'full');
  await paste(page, { name: 'large.png', bytes: noise(1_200, 1_000) });
  await notice(page).filter({ hasText: '“large.png” was not added. There is no room left on this device.' }).waitFor();
  assert.deepEqual(await cards(page), []);
  assert.equal((await status(page)).files.waiting, 0);
  await paste(page, { name: 'small.png', bytes: bay(300, 200) });
  await pixels(page);
});

test('v8_copies_show_the_same_picture_and_another_space_gets_it_too', async () => {
  const network = await startNetwork(server.port);
  const browser = await openUser();
  await browser.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await openCanvas(browser, network.url, 'from');
  await untilKeptForOffline(page);
  const target = await openCanvas(browser, network.url, 'to');
  await network.cut(browser.context);
  await page.bringToFront();
  await paste(page, { name: 'bay.png', bytes: bay(300, 200) });
  const [mine] = await pixels(page);
  await page.keyboard.press('Control+d');
  assert.deepEqual(await pixels(page, 2), [mine, mine]);
  await page.keyboard.press('Control+c');
  await page.keyboard.press('Control+v');
  assert.deepEqual(await pixels(page, 3), [mine, mine, mine]);
  const ids = new Set((await cards(page)).map(({ image }) => image));
  assert.equal(ids.size, 1, 'it is one file with one row');
  const text = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(!text.includes('from'), 'the clipboard names no space');
  await page.close();
  await target.bringToFront();
  await target.keyboard.press('Control+v');
  assert.deepEqual(await pixels(target), [mine]);
  await network.restore(browser.context);
  await untilSaved(target);
  assert.equal((await onServer('to'))[0].width, 300);
});

test('v8_who_may_only_read_sees_pictures_and_adds_none', async () => {
  const secret = join(tempDir('secret'), 'secret');
  const token = async (...args) =>
    (await runDriftline(['token', '--secret-file', secret, '--space', '*', ...args])).trim();
  const [write, read] = [await token('--sub', 'ada'), await token('--sub', 'grace', '--role', 'read')];
  const guarded = await startServer({ ...PLACE, args: ['--secret-file', secret] });
  const page = await openCanvas(await openUser(), guarded.url, 'shared', write);
  await paste(page, { name: 'bay.png', bytes: bay(300, 200) });
  const [mine] = await pixels(page);
  await untilSaved(page);
  const reader = await openCanvas(await openUser(), guarded.url, 'shared', read);
  await reader.waitForSelector('[data-testid=view-only]');
  assert.deepEqual(await pixels(reader), [mine]);
  await paste(reader, { name: 'mine.png', bytes: bay(200, 200) });
  await notice(reader).filter({ hasText: 'You can look at this canvas, but not change it' }).waitFor();
  assert.equal((await cards(reader)).length, 1);
  assert.equal((await status(reader)).files.waiting, 0, 'nothing was kept to be sent');
  assert.equal(await reader.locator('[data-testid=add-image]').isVisible(), false);
});

test('v8_a_card_says_what_its_picture_waits_for_and_shows_it_once_it_comes', async () => {
  const page = await openCanvas(await openUser(), server.url, 'away');
  await paste(page, { name: 'bay.png', bytes: bay(300, 200) });
  const [mine] = await pixels(page);
  await untilSaved(page);
  const proxy = await startProxy(server.port);
  const network = await startNetwork(proxy.port);
  proxy.meddle = async ({ path }, pass) => {
    if (BLOB.test(path)) throw new Error('the connection breaks off');
    return await pass();
  };
  const browser = await openUser();
  const other = await openCanvas(browser, network.url, 'away');
  await away(other).filter({ hasText: 'Waiting for a network' }).waitFor();
  await network.cut(browser.context);
  proxy.meddle = undefined;
  await until('it to be offline', async () => (await status(other)).state === 'offline');
  await network.restore(browser.context);
  assert.deepEqual(await pixels(other), [mine]);
  // A card that came in a file of unsent work, whose picture is on another device.
  const hash = 'ab'.repeat(32);
  await other.evaluate((hash) => {
    const image = { hash, bytes: 10, type: 'image/png', width: 30, height: 20 };
    const place = { x: 0, y: 400, width: 300, height: 200 };
    window.driftline.tables.card.create({ kind: 'file', image: crypto.randomUUID(), extra: { image }, ...place });
  }, hash);
  await away(other).filter({ hasText: 'Waiting for another device' }).waitFor();
  // Whatever somebody has put there under the name of a picture.
  await other.evaluate(async () => {
    const blobs = await window.files.open();
    const row = (stored) => ({ ...stored, width: 30, height: 20 });
    const { id } = await blobs.put(new Blob(['<script>']), { table: 'image', row });
    const place = { x: 400, y: 400, width: 300, height: 200 };
    return window.driftline.tables.card.create({ kind: 'file', image: id, ...place }).saved;
  });
  await away(other).filter({ hasText: 'This browser cannot show the picture' }).waitFor();
});

test('v8_a_drawing_brings_its_pictures_and_a_canvas_file_names_them', async () => {
  const page = await openCanvas(await openUser(), server.url, 'files');
  const dataURL = `data:image/png;base64,${bay(300, 200).toString('base64')}`;
  const image = { id: 'i', type: 'image', fileId: 'f', x: 0, y: 0, width: 300, height: 200 };
  const elements = [image, { ...image, id: 'j', x: 400, fileId: 'broken' }, { ...image, id: 'k', fileId: 'gone' }];
  const files = { f: { dataURL }, broken: { dataURL: 'data:image/png;base64,AQID' } };
  const drawing = JSON.stringify({ type: 'excalidraw', elements, files });
  const open = (name, text) =>
    page.setInputFiles('[data-testid=open-file]', { name, mimeType: 'application/json', buffer: Buffer.from(text) });
  await open('a.excalidraw', drawing);
  const [mine] = await pixels(page);
  await notice(page).filter({ hasText: 'Left out: 1 images.' }).waitFor();
  assert.match(await notice(page).innerText(), /Left out: 1 images\. This browser cannot read it as a picture/);
  await untilSaved(page);

  const downloading = page.waitForEvent('download');
  await page.click('[data-testid=save-file]');
  const file = JSON.parse(await readAll(await (await downloading).createReadStream()));
  await notice(page).filter({ hasText: 'Left out: 1 image, which a .canvas file can only name.' }).waitFor();
  const [node] = file.nodes.filter((one) => one.image);
  assert.deepEqual([node.type, node.file, node.image.width], ['file', 'picture.png', 300]);
  // Where the picture is, it is found again by its hash.
  await page.evaluate(() =>
    window.driftline.tables.card.query().map(({ id }) => window.driftline.tables.card.delete(id)),
  );
  await open('again.canvas', JSON.stringify(file));
  assert.deepEqual(await pixels(page), [mine]);
  const other = await openCanvas(await openUser(), server.url, 'files-elsewhere');
  await drop(other, { name: 'again.canvas', type: '', bytes: Buffer.from(JSON.stringify({ nodes: [node] })) });
  await notice(other).filter({ hasText: 'Left out: 1 images. Neither the file nor this device has them.' }).waitFor();
  await other.locator('[data-testid=card]', { hasText: 'picture.png' }).waitFor();
});

async function readAll(stream) {
  const chunks = [];
  for await (const part of stream) chunks.push(part);
  return Buffer.concat(chunks).toString();
}

test('v8_a_space_that_is_deleted_here_takes_its_files_along_and_not_those_that_wait', async () => {
  const network = await startNetwork(server.port);
  const browser = await openUser();
  const page = await openCanvas(browser, network.url, 'goes');
  await untilKeptForOffline(page);
  await paste(page, { name: 'sent.png', bytes: bay(300, 200) });
  await untilSaved(page);
  await network.cut(browser.context);
  await paste(page, { name: 'waits.png', bytes: bay(200, 200) });
  await pixels(page, 2);
  await page.evaluate(() => window.driftline.saved());
  const elsewhere = await openCanvas(browser, network.url, 'stays');
  await page.close();
  await elsewhere.click('[data-testid=space]');
  await elsewhere.locator('[data-space=goes] [data-testid=delete-row]').click();
  await elsewhere.waitForSelector('[data-testid=ask]');
  const held = () =>
    elsewhere.evaluate(async () => {
      const [found] = (await indexedDB.databases()).filter(({ name }) => name.endsWith('/blobs'));
      const request = indexedDB.open(found.name);
      await new Promise((done) => request.addEventListener('success', done));
      const keys = request.result.transaction('entry').objectStore('entry').getAllKeys();
      await new Promise((done) => keys.addEventListener('success', done));
      request.result.close();
      return keys.result.length;
    });
  assert.equal(await held(), 2);
  await elsewhere.click('[data-testid=ask-yes]');
  await until('the files to be gone', async () => (await held()) === 0);
});
