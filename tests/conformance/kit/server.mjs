// The server that is checked, as the kit speaks to it.

import { Buffer } from 'node:buffer';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { gunzipSync } from 'node:zlib';
import { Socket } from './socket.mjs';

const TIMEOUT_MS = 60_000;

export class ServerUnderTest {
  constructor(url, token) {
    Object.assign(this, { url: url.replace(/\/$/, ''), token });
  }

  /** Sends a request and returns `{status, headers, text}`. A header that is `null` is not sent. */
  request({ method = 'GET', path, headers = {}, text }) {
    const own = this.token === undefined ? {} : { authorization: `Bearer ${this.token}` };
    const all = Object.entries({ ...own, ...headers }).filter(([, value]) => value !== null);
    const send = this.url.startsWith('https:') ? httpsRequest : httpRequest;
    return new Promise((done, failed) => {
      const request = send(this.url + path, { method, headers: Object.fromEntries(all), timeout: TIMEOUT_MS });
      request.once('timeout', () => request.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
      request.once('error', failed);
      request.once('response', (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.once('error', failed);
        response.once('end', () =>
          done({ status: response.statusCode, headers: response.headers, text: read(response, chunks) }),
        );
      });
      request.end(text);
    });
  }

  /** A reconcile request with this JSON. */
  push(space, text, headers = {}) {
    const path = `/v1/spaces/${encodeURIComponent(space)}/reconcile`;
    return this.request({ method: 'POST', path, headers: { 'content-type': 'application/json', ...headers }, text });
  }

  connect(space) {
    return Socket.open(`${this.url}/v1/spaces/${encodeURIComponent(space)}/live`);
  }
}

function read({ headers }, chunks) {
  const bytes = Buffer.concat(chunks);
  return (headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString('utf8');
}
