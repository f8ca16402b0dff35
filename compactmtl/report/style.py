"""The look of the page: no external font, light, readable on a phone and on paper."""

CSS = """
:root {
  --ink: #0f172a; --text: #334155; --soft: #64748b; --line: #e2e8f0; --paper: #ffffff;
  --ground: #f6f7f9; --accent: #2563eb; --good: #15803d; --warn: #b45309; --bad: #b91c1c;
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main, header > div, footer { max-width: 1160px; margin: 0 auto; padding: 0 24px; }
header { background: var(--paper); border-bottom: 1px solid var(--line); padding: 36px 0 28px; }
.brand {
  color: var(--accent); font-weight: 600; font-size: 13px; letter-spacing: .02em; margin: 0;
}
h1 {
  color: var(--ink); font-size: 32px; line-height: 1.15; letter-spacing: -.02em;
  margin: 6px 0 6px;
}
.sub { color: var(--soft); margin: 0; max-width: 75ch; overflow-wrap: anywhere; }
.chips { display: flex; flex-wrap: wrap; gap: 8px; margin: 16px 0 0; padding: 0; list-style: none; }
.chips li {
  border: 1px solid var(--line); border-radius: 999px; padding: 3px 12px 3px 10px; font-size: 13px;
  background: var(--paper); color: var(--text);
}
.chips li::before {
  content: ""; display: inline-block; width: 8px; height: 8px; border-radius: 50%;
  margin-right: 8px; background: var(--soft);
}
.chips .good::before { background: var(--good); }
.chips .warn::before { background: #f59e0b; }
.chips .bad::before { background: var(--bad); }
.tiles {
  display: grid; gap: 1px; grid-template-columns: repeat(6, minmax(0, 1fr)); margin-top: 26px;
  background: var(--line); border: 1px solid var(--line); border-radius: 12px; overflow: hidden;
}
.tile { background: var(--paper); padding: 14px 16px 15px; }
.tile .label { color: var(--soft); font-size: 12.5px; }
.tile .value {
  color: var(--ink); font-size: 27px; font-weight: 650; letter-spacing: -.02em; line-height: 1.3;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
.tile .detail { color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
nav {
  max-width: 1160px; margin: 0 auto; padding: 14px 24px 0; display: flex; flex-wrap: wrap;
  gap: 4px 20px;
}
nav a { color: var(--soft); text-decoration: none; font-size: 13.5px; }
nav a:hover { color: var(--accent); }
section {
  background: var(--paper); border: 1px solid var(--line); border-radius: 12px;
  padding: 24px 28px 26px; margin: 18px 0; break-inside: avoid-page;
}
h2 { color: var(--ink); font-size: 19px; letter-spacing: -.01em; margin: 0 0 4px; }
h3 { color: var(--ink); font-size: 14.5px; margin: 26px 0 6px; }
.lead { color: var(--soft); margin: 0 0 16px; max-width: 80ch; }
.scroll { overflow-x: auto; }
table {
  border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums;
}
th, td {
  padding: 7px 14px 7px 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap;
}
th:first-child, .text th, .text td { text-align: left; }
.text td { white-space: normal; overflow-wrap: anywhere; }
thead th {
  color: var(--soft); font-weight: 500; font-size: 12.5px; vertical-align: bottom;
  white-space: normal;
}
tbody th { font-weight: 400; color: var(--text); }
tbody tr:last-child > * { border-bottom: 0; }
td strong, th strong { color: var(--ink); font-weight: 650; }
td:last-child, th:last-child { padding-right: 0; }
.metrics th:first-child { width: 22%; }
.metrics td { width: 13%; }
.minor { padding-left: 16px; color: var(--soft); }
.dim { color: var(--soft); }
.good-text { color: var(--good); } .bad-text { color: var(--bad); }
code, pre { font: 12.5px/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { background: #f1f5f9; border-radius: 5px; padding: 2px 6px; overflow-wrap: anywhere; }
pre {
  background: #f8fafc; border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px;
  overflow-x: auto;
}
.missing {
  background: #fffbeb; border: 1px solid #fde68a; border-radius: 8px; padding: 10px 14px;
  margin: 10px 0 0;
}
.missing code { background: #fef3c7; }
.notes { color: var(--soft); font-size: 13.5px; margin: 14px 0 0; }
ul.notes { padding-left: 18px; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px 28px; }
.charts.three { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.charts > div { min-width: 0; overflow: hidden; }
.samples {
  display: grid; grid-template-columns: repeat(var(--per-row, 2), minmax(0, 1fr)); gap: 26px 30px;
}
.sample { margin: 0; min-width: 0; }
.sample table { table-layout: fixed; font-size: 12px; }
.sample th, .sample td {
  border: 0; padding: 2px; text-align: center; color: var(--soft); font-weight: 500;
}
.sample tbody th { text-align: right; padding-right: 8px; width: 62px; }
.sample .corner { width: 62px; }
.sample img {
  display: block; width: 100%; border-radius: 4px; transition: transform .12s;
  image-rendering: auto;
}
.sample img:hover {
  transform: scale(2.2); position: relative; z-index: 3;
  box-shadow: 0 8px 30px rgb(15 23 42 / .35);
}
.legend {
  display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: 12.5px; color: var(--soft);
  margin: 16px 0 0; padding: 0; list-style: none;
}
.legend i {
  display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px;
}
.meters {
  display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 12px 28px;
  margin-bottom: 10px;
}
.meter .label { font-size: 13px; color: var(--soft); }
.meter .value {
  color: var(--ink); font-size: 20px; font-weight: 650; font-variant-numeric: tabular-nums;
}
.meter .value span { color: var(--soft); font-size: 13px; font-weight: 400; margin-left: 6px; }
.meter .bar {
  height: 7px; border-radius: 4px; background: var(--line); margin-top: 6px; overflow: hidden;
}
.meter .bar i { display: block; height: 100%; background: var(--accent); }
.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 0 28px;
  margin: 0; font-size: 13.5px;
}
.facts > div {
  display: flex; justify-content: space-between; gap: 16px; border-bottom: 1px solid var(--line);
  padding: 6px 0; min-width: 0;
}
.facts dt { color: var(--soft); }
.facts dd {
  margin: 0; text-align: right; color: var(--ink); overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums;
}
.chain { list-style: none; padding: 0; margin: 0; }
.chain li {
  display: grid; grid-template-columns: 170px 1fr; gap: 12px; padding: 6px 0;
  border-bottom: 1px solid var(--line); font-size: 13.5px;
}
.chain li:last-child { border-bottom: 0; }
.chain code { background: none; padding: 0; color: var(--soft); }
details summary { cursor: pointer; color: var(--accent); font-size: 14px; margin-top: 14px; }
footer { color: var(--soft); font-size: 13px; padding-top: 8px; padding-bottom: 44px; }
@media (max-width: 900px) {
  .tiles { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .charts, .charts.three, .samples { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 560px) {
  main, header > div, footer, nav { padding-left: 14px; padding-right: 14px; }
  section { padding: 18px 16px 20px; border-radius: 10px; }
  h1 { font-size: 25px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tile .value { font-size: 23px; }
  .meters { grid-template-columns: minmax(0, 1fr); }
  .chain li { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .sample tbody th, .sample .corner { width: 50px; padding-right: 4px; }
}
@media print {
  body {
    background: #fff; font-size: 12px; -webkit-print-color-adjust: exact;
    print-color-adjust: exact;
  }
  nav { display: none; }
  section { border: 0; padding: 8px 0; margin: 8px 0; }
  header { border: 0; padding: 0; }
  .sample img { transition: none; }
}
"""
