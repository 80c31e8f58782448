// Bars for the docs, as SVG: in the colours of the reader's scheme, without a script.

const [WIDTH, LABEL, BAR, GAP, TOP] = [720, 300, 20, 14, 44];
const FONT = 'font-family="system-ui, sans-serif" font-size="13"';

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/**
 * One bar a row; `rows` are `{ label, value, text, ours }`. Where `limit` is given, a line stands at it.
 * @param {{ title: string, rows: { label: string, value: number, text: string, ours?: boolean }[], limit?: number }} plot
 */
export function bars({ title, rows, limit }) {
  const height = TOP + rows.length * (BAR + GAP);
  const longest = Math.max(limit ?? 0, ...rows.map((row) => row.value));
  const scale = (WIDTH - LABEL - 90) / longest;
  const drawn = rows.map(({ label, value, text, ours }, i) => {
    const y = TOP + i * (BAR + GAP);
    const width = Math.max(2, value * scale).toFixed(1);
    return [
      `<text x="${LABEL - 10}" y="${y + 15}" text-anchor="end" class="ink">${escaped(label)}</text>`,
      `<rect x="${LABEL}" y="${y}" width="${width}" height="${BAR}" rx="3" class="${ours === false ? 'theirs' : 'ours'}"/>`,
      `<text x="${LABEL + Number(width) + 8}" y="${y + 15}" class="ink">${escaped(text)}</text>`,
    ].join('\n');
  });
  const at = limit === undefined ? undefined : (LABEL + limit * scale).toFixed(1);
  const line =
    at === undefined ? '' : `<line x1="${at}" y1="${TOP - 8}" x2="${at}" y2="${height - GAP + 6}" class="limit"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" ${FONT}>
<title>${escaped(title)}</title>
<style>
.ink { fill: #1f2328 } .ours { fill: #2f6feb } .theirs { fill: #9aa4b2 } .limit { stroke: #d1242f; stroke-width: 2; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { .ink { fill: #e6edf3 } .ours { fill: #6aa1ff } .theirs { fill: #6b7684 } }
</style>
<text x="0" y="18" class="ink" font-weight="600">${escaped(title)}</text>
${drawn.join('\n')}
${line}
</svg>
`;
}
