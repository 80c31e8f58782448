// What bounds each figure: the same bytes, by the shortest way that the browser knows.

import { nextTask } from './work.js';

/** A database with one store. */
export function openRaw(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore('raw');
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** One value, on the disk when this resolves. */
export function putStrict(db, key, value) {
  return new Promise((resolve, reject) => {
    const transaction = db.transaction('raw', 'readwrite', { durability: 'strict' });
    transaction.objectStore('raw').put(value, key);
    transaction.commit();
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

export function readRaw(db, key) {
  return new Promise((resolve, reject) => {
    const request = db.transaction('raw', 'readonly').objectStore('raw').get(key);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Each transaction becomes JSON in its own task; all of them become one value. */
export async function burst(db, work) {
  const began = performance.now();
  const texts = [];
  for (const transaction of work) {
    await nextTask();
    texts.push(JSON.stringify(transaction));
  }
  await putStrict(db, 'work', `[${texts.join()}]`);
  return performance.now() - began;
}

/** Times of `count` single values, each on the disk before the next. */
export async function singles(db, from, count, make) {
  const times = [];
  for (let n = from; n < from + count; n++) {
    await nextTask();
    const began = performance.now();
    await putStrict(db, n, JSON.stringify(make(n)));
    times.push(performance.now() - began);
  }
  return times;
}

/** From a script's begin to rows: one value, read and parsed. */
export async function coldOpen(name) {
  const began = performance.now();
  const db = await openRaw(name);
  const rows = JSON.parse(await readRaw(db, 'rows'));
  return { ms: performance.now() - began, rows: rows.length };
}

export async function post(url, body) {
  const began = performance.now();
  await (await fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/json' } })).text();
  return performance.now() - began;
}

/** One value on the disk, and how long it took. */
export async function timedPut(db, key, text) {
  const began = performance.now();
  await putStrict(db, key, text);
  return performance.now() - began;
}

/** Fetches and parses the lines that `url` answers; then writes them. */
export async function download(url, db) {
  const began = performance.now();
  const text = await (await fetch(url)).text();
  const snapshot = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const readable = performance.now() - began;
  await putStrict(db, 'snapshot', text);
  return { readable, onDisk: performance.now() - began, bytes: text.length, snapshot };
}
