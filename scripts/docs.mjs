// Builds the pages in Markdown into a static site, docs/dist: `node scripts/docs.mjs`. A link or an anchor that leads nowhere fails the
// build. The page of the API is made from the declarations of the built package.

import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { Marked } from 'marked';
import { apiPage } from './docs-api.mjs';
import { ROOT, runAsCommand, say } from './run.mjs';

const SITE = join(ROOT, 'docs', 'dist');
const TEMPLATE = join(ROOT, 'scripts', 'docs-template.html');
const API = 'docs/api.md';

/** The navigation. A page that is not named here comes under the last heading. */
const NAVIGATION = [
  ['Start', ['README.md', 'docs/quickstart.md', guide('bundlers')]],
  [
    'Guides',
    [
      'schema',
      'ordering',
      'refusals',
      'authentication',
      'devices',
      'files',
      'react',
      'presence',
      'offline',
      'inspector',
      'testing',
      'deploying',
    ].map(guide),
  ],
  ['Running it', ['docs/migrations.md', 'docs/operations.md']],
  ['Reference', [API, 'docs/protocol.md', 'docs/guarantees.md', 'docs/engines.md', 'docs/comparison.md']],
  ['More', ['ARCHITECTURE.md', 'SPEC.md', 'CHANGELOG.md']],
];

function guide(name) {
  return `docs/guide/${name}.md`;
}

/** Every page there is, as `[path, text]`. */
export async function readPages() {
  const folders = ['docs', 'docs/guide'];
  const paths = ['README.md', 'ARCHITECTURE.md', 'SPEC.md', 'CHANGELOG.md', 'crates/driftline-native/README.md'];
  for (const folder of folders) {
    const names = await readdir(join(ROOT, folder));
    paths.push(...names.filter((name) => name.endsWith('.md')).map((name) => `${folder}/${name}`));
  }
  const pages = await Promise.all(paths.map(async (path) => [path, await readFile(join(ROOT, path), 'utf8')]));
  return new Map([...pages, [API, await apiPage()]]);
}

/** Renders the pages. Returns the files of the site by name, what else they link to, and each link that leads nowhere. */
export async function render(pages) {
  const template = await readFile(TEMPLATE, 'utf8');
  const rendered = new Map([...pages].map(([path, text]) => [path, renderPage(path, text)]));
  const files = new Map();
  const copies = new Map();
  const dead = [];
  for (const [path, page] of rendered) {
    for (const link of page.links) {
      const problem = resolve(link, path, rendered, copies);
      if (problem) dead.push(`${path}: ${problem}`);
    }
    files.set(fileOf(path), fill(template, path, page, navigation(path, rendered)));
  }
  return { files, copies, dead };
}

/** A page's HTML and title, its anchors, and its links, with the addresses that they have on the site. */
function renderPage(path, text) {
  const anchors = new Map();
  const links = [];
  let title = '';
  const noted = (href) => {
    if (/^[a-z]+:/i.test(href)) return href;
    links.push(href);
    return addressOf(href, path);
  };
  const renderer = {
    heading({ tokens, depth, text }) {
      const id = anchorOf(text, anchors);
      if (depth === 1) title ||= plain(text);
      return `<h${depth} id="${id}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
    },
    link({ href, tokens }) {
      return `<a href="${escapeHtml(noted(href))}">${this.parser.parseInline(tokens)}</a>`;
    },
    image({ href, text }) {
      return `<img src="${escapeHtml(noted(href))}" alt="${escapeHtml(text)}">`;
    },
    code({ text, lang }) {
      return `<pre><code class="${escapeHtml(lang?.split(/\s/)[0] ?? '')}">${escapeHtml(text)}</code></pre>\n`;
    },
  };
  const marked = new Marked({ renderer });
  const html = marked
    .parse(text)
    .replaceAll('<table>', '<div class="table"><table>')
    .replaceAll('</table>', '</table></div>');
  return { html, title, anchors, links };
}

/** What is wrong with a link, if anything is. Notes what else than a page has to be on the site. */
function resolve(href, from, rendered, copies) {
  const [file, anchor] = href.split('#');
  const target = file === '' ? from : posix.join(posix.dirname(from), decodeURIComponent(file));
  const page = rendered.get(target);
  if (page) return anchor && !page.anchors.has(anchor) ? `no heading of ${target} is #${anchor}` : undefined;
  if (target.startsWith('..') || !existsSync(join(ROOT, target))) return `there is no ${target}`;
  copies.set(target, fileOf(target));
}

/** Where a page or a file is on the site: `docs/guide/schema.md` is `guide/schema.html`. */
function fileOf(path) {
  if (path === 'README.md') return 'index.html';
  const name = path.replace(/^docs\//, '');
  if (name.endsWith('.md'))
    return name.replace(/\.md$/, '.html').replace(/^[A-Z]+(?=\.html$)/, (word) => word.toLowerCase());
  // Without an ending a browser would not show it.
  return posix.basename(name).includes('.') ? name : `${name}.txt`;
}

function addressOf(href, from) {
  const [file, anchor] = href.split('#');
  const hash = anchor === undefined ? '' : `#${anchor}`;
  if (file === '') return hash;
  const target = posix.join(posix.dirname(from), decodeURIComponent(file));
  return posix.relative(posix.dirname(fileOf(from)), fileOf(target)) + hash;
}

/** As GitHub makes them: a second heading of the same words gets `-1`. */
function anchorOf(text, anchors) {
  const words = plain(text)
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');
  const count = anchors.get(words) ?? 0;
  anchors.set(words, count + 1);
  const id = count === 0 ? words : `${words}-${count}`;
  if (count > 0) anchors.set(id, 1);
  return id;
}

const plain = (markdown) => markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '');

function navigation(current, rendered) {
  const named = new Set(NAVIGATION.flatMap(([, paths]) => paths));
  const others = [...rendered.keys()].filter((path) => !named.has(path));
  const sections = NAVIGATION.map(([heading, paths], index) => {
    const all = index === NAVIGATION.length - 1 ? [...paths, ...others] : paths;
    const items = all.map((path) => {
      const page = rendered.get(path);
      if (!page) throw new Error(`the navigation names ${path}, and there is none`);
      const here = path === current ? ' aria-current="page"' : '';
      const address = posix.relative(posix.dirname(fileOf(current)), fileOf(path));
      return `<li><a href="${address}"${here}>${escapeHtml(path === 'README.md' ? 'Overview' : page.title)}</a></li>`;
    });
    return `<h2>${heading}</h2><ul>${items.join('')}</ul>`;
  });
  return sections.join('\n');
}

function fill(template, path, { html, title }, nav) {
  const home = posix.relative(posix.dirname(fileOf(path)), 'index.html');
  const values = { title: escapeHtml(title), nav, home, content: html };
  return template.replace(/\{\{(\w+)\}\}/g, (_, name) => values[name]);
}

function escapeHtml(text) {
  return text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign]);
}

/** Builds the site into `folder`, which it empties first. */
export async function buildSite(folder = SITE) {
  const { files, copies, dead } = await render(await readPages());
  if (dead.length > 0) throw new Error(`links that lead nowhere:\n${dead.join('\n')}`);
  await rm(folder, { recursive: true, force: true });
  const put = async (name, write) => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await write(join(folder, name));
  };
  for (const [name, html] of files) await put(name, (path) => writeFile(path, html));
  for (const [from, name] of copies) await put(name, (path) => cp(join(ROOT, from), path));
  return files.size;
}

await runAsCommand(import.meta.url, async () => say(`${await buildSite()} pages in ${SITE}`));
