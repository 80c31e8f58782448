/** Two weights, three sizes, one accent, and a colour for each way in which something waits. */
export const STYLES = `
:host { display: block; height: 100%; min-width: 0; }
.app {
  --ink: light-dark(#171b26, #e6e9f2); --soft: light-dark(#586074, #9aa3b8); --paper: light-dark(#ffffff, #171a22);
  --ground: light-dark(#f5f6f9, #10131a); --edge: light-dark(#dfe3eb, #2b303d); --accent: light-dark(#3150d3, #93a7ff);
  --on-accent: light-dark(#ffffff, #10131a); --good: light-dark(#17713f, #5fd08f); --warn: light-dark(#8f5200, #f0b35a);
  --bad: light-dark(#b5262b, #ff8f8c); --warn-ground: light-dark(#fff3dd, #33260f); --accent-ground: light-dark(#eceffd, #1f2640);
  --mono: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, monospace;
  color-scheme: light dark; container-type: inline-size; box-sizing: border-box; height: 100%; min-height: 100%; overflow: auto;
  font: 13px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
}
.app[data-scheme="light"] { color-scheme: light; } .app[data-scheme="dark"] { color-scheme: dark; }
*, *::before, *::after { box-sizing: border-box; }
h3, h4, p, ul, ol, dl, dd, fieldset { margin: 0; padding: 0; border: 0; }
ul, ol { list-style: none; }
h3 { font-size: 14px; font-weight: 600; line-height: 1.35; } h4 { margin: 14px 0 4px; font-size: 12px; font-weight: 600; color: var(--soft); }
.mono, code { font-family: var(--mono); font-size: 12px; } .number, .mono, time { font-variant-numeric: tabular-nums; }
.hint, small { color: var(--soft); font-size: 12px; } small { margin-left: 6px; white-space: nowrap; } small:empty { display: none; }
code { padding: 1px 5px; border-radius: 4px; background: var(--ground); } code:not(:first-child) { margin-left: 6px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

header { padding: 14px 16px 12px; } .headline { display: flex; align-items: center; gap: 10px; }
.standing { display: inline-flex; align-items: center; gap: 8px; font-size: 16px; font-weight: 600; --tone: var(--accent); }
.standing::before { content: ""; width: 9px; height: 9px; border-radius: 50%; background: var(--tone); }
.standing.saved { --tone: var(--good); } .standing.offline { --tone: var(--warn); } .standing.not_saving { --tone: var(--bad); } .standing.closed { --tone: var(--soft); }
.space { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--soft); } .sentence { margin-top: 2px; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 1px; margin-top: 12px; border: 1px solid var(--edge); border-radius: 8px; overflow: hidden; }
.figures > div { display: flex; flex-direction: column-reverse; padding: 6px 10px; box-shadow: 0 0 0 1px var(--edge); }
.figures dt { font-size: 12px; color: var(--soft); white-space: nowrap; } .figures dd { font-size: 18px; font-weight: 600; line-height: 1.3; } .figures dd.bad { color: var(--bad); }
.figures.small { grid-template-columns: repeat(auto-fit, minmax(98px, 1fr)); margin: 0 0 12px; } .figures.small dd { font-size: 14px; }
header > .hint { margin-top: 8px; }

.banner { position: sticky; top: 0; z-index: 2; display: flex; align-items: center; justify-content: space-between; gap: 12px; padding: 8px 16px; color: var(--warn);
  background: repeating-linear-gradient(-45deg, var(--warn-ground) 0 14px, color-mix(in srgb, var(--warn-ground), var(--warn) 9%) 14px 28px); border-block: 1px solid color-mix(in srgb, var(--warn), transparent 60%); }
.notice { margin: 12px 16px 0; padding: 8px 12px; border-left: 3px solid var(--bad); border-radius: 4px; background: var(--ground); } .no-notice { height: 0; }
.tabs { display: flex; gap: 2px; overflow-x: auto; padding: 0 10px; border-bottom: 1px solid var(--edge); scrollbar-width: none; }
.tabs button { flex: none; padding: 8px 9px 7px; border: 0; border-bottom: 2px solid transparent; font: inherit; color: var(--soft); background: none; cursor: pointer; }
.tabs button:hover { color: var(--ink); } .tabs button:focus-visible { outline-offset: -3px; }
.tabs button[aria-selected="true"] { border-color: var(--accent); color: var(--ink); font-weight: 600; }
.count { margin-left: 3px; padding: 0 6px; border-radius: 9px; font-size: 11px; font-weight: 600; font-variant-numeric: tabular-nums; color: var(--ink); background: var(--edge); }
.count.held { color: var(--paper); background: var(--bad); } .count.simulate, .count.trace { color: var(--paper); background: var(--warn); }
.content { padding: 14px 16px 20px; } .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; } .bar > .link { margin-left: auto; }

.button { min-height: 28px; padding: 3px 11px; border: 1px solid var(--edge); border-radius: 6px; font: inherit; color: var(--ink); background: var(--paper); cursor: pointer; }
.button:hover { background: var(--ground); } .button:disabled { opacity: .5; cursor: default; }
.button.main { border-color: var(--accent); color: var(--on-accent); background: var(--accent); } .button.danger { color: var(--bad); }
.button.link { min-height: 24px; padding: 0 2px; border: 0; color: var(--accent); background: none; } .button.link:hover { text-decoration: underline; }
.actions { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 10px; }

.saving, .queued { --tone: var(--soft); } .in_flight { --tone: var(--accent); } .waiting, .suspended { --tone: var(--warn); } .applied { --tone: var(--good); } .parked { --tone: var(--bad); }
.chip, .tag, .legend li { padding: 0 7px; border: 1px solid color-mix(in srgb, var(--tone, var(--soft)), transparent 55%); border-radius: 10px; font-size: 12px; white-space: nowrap; color: var(--tone, var(--soft)); }
.tag { margin-left: 6px; color: var(--warn); }
.legend { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; }

.split { display: grid; gap: 14px; align-items: start; } .split > * { min-width: 0; }
.graph > .scroll { max-height: 640px; overflow: auto; border: 1px solid var(--edge); border-radius: 8px;
  background: radial-gradient(color-mix(in srgb, var(--edge), transparent 15%) 1px, transparent 1px) 0 0 / 16px 16px var(--ground); }
.graph svg { display: block; } .more { margin-top: 6px; }
.node { cursor: pointer; } .node.row { cursor: default; } .node:focus { outline: none; }
.box { fill: var(--paper); stroke: var(--edge); } .stripe { fill: var(--tone); } .node.row .box { fill: none; stroke: var(--warn); stroke-dasharray: 4 3; }
.node:hover .box { stroke: var(--soft); } .node[aria-pressed="true"] .box { stroke: var(--accent); stroke-width: 2; fill: var(--accent-ground); }
.node:focus-visible .box { stroke: var(--accent); stroke-width: 3; }
.node text { font: 11px system-ui, sans-serif; fill: var(--soft); } .node text.name { font-size: 12.5px; font-weight: 600; fill: var(--ink); } .node text.mono { font-family: var(--mono); }
.node text.state { text-anchor: end; fill: var(--tone); } .node text.place { text-anchor: end; font-variant-numeric: tabular-nums; }
.edge { fill: none; stroke: var(--soft); stroke-width: 1.25; opacity: .65; } .edge.waits { stroke: var(--warn); stroke-dasharray: 5 3; opacity: 1; } .edge.near { stroke: var(--accent); stroke-width: 2; opacity: 1; } .arrow { fill: var(--soft); }

.detail { padding: 12px 14px; border: 1px solid var(--edge); border-radius: 8px; } .detail.idle { border-style: dashed; } .detail > .bar { flex-wrap: nowrap; align-items: baseline; }
.why { margin-top: 8px; font-size: 14px; line-height: 1.45; } .rows li { overflow-wrap: anywhere; } .detail > .hint { margin-top: 10px; overflow-wrap: anywhere; }
.timeline li { position: relative; display: grid; grid-template-columns: 62px 1fr auto; gap: 10px; padding: 3px 0 3px 18px; --tone: var(--soft); }
.timeline li::before { content: ""; position: absolute; left: 2px; top: 9px; width: 8px; height: 8px; border-radius: 50%; background: var(--tone); }
.timeline li:not(:last-child)::after { content: ""; position: absolute; left: 5.5px; top: 17px; bottom: -9px; width: 1px; background: var(--edge); }
.timeline .sent { --tone: var(--accent); } .timeline .accepted, .timeline .live, .timeline .seen { --tone: var(--good); } .timeline .parked, .timeline .failed { --tone: var(--bad); } .timeline .held, .timeline .suspended { --tone: var(--warn); }
time, .later, .took { color: var(--soft); } .later { text-align: right; }
.recent { margin-top: 18px; } .recent ul { margin-top: 6px; border: 1px solid var(--edge); border-radius: 8px; overflow: hidden; } .recent li + li { border-top: 1px solid var(--edge); }
.recent button { display: grid; grid-template-columns: minmax(0, 1fr) 80px 110px 64px; gap: 10px; width: 100%; padding: 5px 12px; border: 0; font: inherit; text-align: left; color: var(--ink); background: none; cursor: pointer; }
.recent button:hover, .recent button[aria-pressed="true"] { background: var(--ground); } .recent button:focus-visible { outline-offset: -2px; } .recent .end { color: var(--good); } .recent .took { text-align: right; }
.name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }

.group { padding: 12px 14px; border: 1px solid var(--edge); border-left: 3px solid var(--bad); border-radius: 8px; } .group + .group { margin-top: 10px; } .code { margin-top: 4px; }
.question { display: grid; gap: 8px; margin-top: 10px; padding: 10px 12px; border-radius: 6px; background: var(--ground); } .question .actions { margin-top: 0; }
.choice { display: grid; grid-template-columns: 76px minmax(0, 1fr); align-items: center; gap: 8px; } .check { display: flex; gap: 8px; align-items: center; }
select { min-height: 28px; max-width: 100%; padding: 2px 6px; border: 1px solid var(--edge); border-radius: 6px; font: inherit; color: var(--ink); background: var(--paper); }

.panel .scroll { overflow-x: auto; } table { width: 100%; border-collapse: collapse; } th { padding: 4px 10px 4px 0; font: 12px/1.5 system-ui, sans-serif; text-align: left; color: var(--soft); }
th.mono { font-family: inherit; } td { padding: 4px 10px 4px 0; border-top: 1px solid var(--edge); vertical-align: baseline; } td.mono { white-space: nowrap; color: var(--soft); }
.number + :not(.number) { padding-left: 18px; } th:last-child, td:last-child { padding-right: 2px; } th.number, td.number { text-align: right; white-space: nowrap; } .wide { display: none; }
.status { font-weight: 600; font-variant-numeric: tabular-nums; } .status.good { color: var(--good); } .status.bad { color: var(--bad); } .status.open { color: var(--accent); }
section + section { margin-top: 18px; } .big { font-size: 18px; } meter { width: 100%; height: 14px; margin: 4px 0; } section > h3 { margin-bottom: 6px; } .content > .bar { margin-top: 14px; }
.fault { padding: 12px 14px; margin-top: 10px; border: 1px solid var(--edge); border-radius: 8px; } .fault .hint { margin-top: 6px; } .fault .choice { margin-top: 8px; grid-template-columns: 40px auto; justify-content: start; } .fault + p { margin-top: 12px; }
.switch { display: flex; align-items: center; gap: 10px; font-weight: 600; cursor: pointer; }
.switch input { appearance: none; width: 34px; height: 20px; margin: 0; border-radius: 10px; background: var(--soft); cursor: pointer; }
.switch input::before { content: ""; display: block; width: 16px; height: 16px; margin: 2px; border-radius: 50%; background: var(--paper); transition: margin .12s; }
.switch input:checked { background: var(--warn); } .switch input:checked::before { margin-left: 16px; }
.steps legend { padding: 0; font-weight: 600; } .steps > div { display: flex; flex-wrap: wrap; gap: 4px; margin-top: 6px; } .steps label { cursor: pointer; }
.steps input { position: absolute; opacity: 0; } .steps span { display: block; padding: 3px 11px; border: 1px solid var(--edge); border-radius: 6px; font-variant-numeric: tabular-nums; }
.steps label:hover span { background: var(--ground); } .steps input:checked + span { color: var(--paper); background: var(--ink); border-color: var(--ink); }
.steps input:not([value="0"]):checked + span { background: var(--warn); border-color: var(--warn); } .steps input:focus-visible + span { outline: 2px solid var(--accent); outline-offset: 2px; }
.empty { display: grid; justify-items: center; gap: 4px; padding: 34px 20px; text-align: center; color: var(--soft); } .empty strong { color: var(--ink); font-size: 14px; } .empty p { max-width: 40ch; text-wrap: balance; }
.icon { width: 34px; height: 34px; fill: none; stroke: var(--edge); stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; } .icon path { stroke: var(--good); stroke-width: 2; }
.dot { display: inline-block; width: 9px; height: 9px; margin-right: 8px; border-radius: 50%; background: var(--bad); }
@container (min-width: 460px) { .wide { display: table-cell; } .tabs button { padding-inline: 12px; } }
@container (min-width: 940px) { .split:has(.detail) { grid-template-columns: minmax(0, 1fr) 340px; } }
@container (max-width: 420px) { .tabs { flex-wrap: wrap; } .tabs button { padding-block: 5px 4px; } }
@container (max-width: 380px) { .recent button { grid-template-columns: minmax(0, 1fr) 96px 52px; } .recent button > .mono:not(.took) { display: none; } .figures > div { padding-inline: 8px; } }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
`;
