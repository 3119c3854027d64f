"""How a report's page looks: in light and dark, on a narrow screen, and on paper."""

STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1b1d21; --faint: #5d636e; --line: #d5d9e0; --paper: #fff; --shade: #f4f5f7; --link: #1a56b0;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6ea; --faint: #a0a6b1; --line: #3a3f48; --paper: #16181c; --shade: #1f2228; --link: #8ab4f8; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 72rem; padding: 1rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: .6em 0 .3em; }
h2 { font-size: 1.25rem; margin: 2.2em 0 .6em; padding-bottom: .2em; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4em 0 .5em; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
p { margin: .5em 0; max-width: 52rem; }
p.note { color: var(--faint); font-size: .85rem; margin: .3em 0; max-width: 60rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .6em 0; }
dt { color: var(--faint); }
dd { margin: 0; min-width: 0; }
.wide { overflow-x: auto; margin: 1.2em 0 .4em; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 1rem; padding: 0 0 .4em; white-space: nowrap; }
th, td { padding: .3em .9em .3em 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--faint); }
tbody th { font-weight: 500; }
tr > th:first-child { position: sticky; left: 0; background: var(--paper); min-width: 7rem; }
.number { text-align: right; white-space: nowrap; }
figure { margin: 1.8em 0; }
img { display: block; max-width: min(100%, 60rem); height: auto; background: #fff; border-radius: 4px; }
figcaption { color: var(--faint); font-size: .88rem; margin-top: .5em; max-width: 60rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5em 0; padding: .4em .8em; }
details details { border: 0; padding: 0; }
summary { cursor: pointer; font-weight: 500; }
pre {
  background: var(--shade); border-radius: 4px; padding: .6em .8em; font: .85rem/1.45 ui-monospace, Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
@media (max-width: 36rem) {
  body { padding: .5rem .8rem 3rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4em; }
}
@page { size: A4 landscape; margin: 12mm; }
@media print {
  :root { --ink: #000; --faint: #444; --line: #bbb; --paper: #fff; --shade: #f4f4f4; --link: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding-right: .5em; }
  figure, tr, summary { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
