"""A self-contained page: plain HTML, one style sheet, no script, no network; light, dark, phone and print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

from pyasp.core.text import Table

BREAKS = re.compile(r"([+_:])")  # where the name of a system may go on in the next line, on a phone
HEAD_BREAKS = re.compile(r"(?=\()")  # the same of a heading: minDCF(0.01)
NO_BREAK = re.compile(r"(?<=\d) (?=\d{3}\b|%)")  # 37 720 and 95 % stay in one line

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5b6470; --line: #d9dde2; --page: #ffffff; --panel: #f6f7f9;
  --mark: #1f6fb8; --shade: #0003; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa4b1; --line: #343b44; --page: #14171b; --panel: #1c2026; --mark: #6db3f2;
  --shade: #fff3; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.2rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.1rem; }
header { padding-top: 2.2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .4rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
main section:first-child h2 { border-top: 0; margin-top: .6rem; }
h3 { font-size: 1.02rem; margin: 2rem 0 .4rem; }
p, li { max-width: 46rem; } p { margin: .4rem 0 .8rem; }
.lead, .soft, .note, .caption, figcaption, .legend { color: var(--soft); }
.note, .caption { font-size: .85rem; line-height: 1.45; } .caption { margin: .9rem 0 0; }
.lead { font-size: 1.05rem; }
a { color: var(--mark); text-decoration: none; } a:hover { text-decoration: underline; }
nav { position: sticky; top: 0; z-index: 2; background: var(--page); border-bottom: 1px solid var(--line); }
nav div { max-width: 68rem; margin: 0 auto; padding: .55rem 1.1rem; display: flex; gap: 1.1rem; overflow-x: auto;
  white-space: nowrap; font-size: .9rem; }
.scroll { overflow-x: auto; margin: .5rem 0 1.1rem; background: linear-gradient(to left, var(--page) 1.5rem,
  transparent 3rem) right / 3rem 100% no-repeat local, linear-gradient(to left, var(--shade), transparent)
  right / .9rem 100% no-repeat scroll; }  /* a shadow where a wide table goes on */
.scroll:has(+ .note) { margin-bottom: .5rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .75rem .32rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid
  var(--line); }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
.scroll > table th:first-child, .scroll > table td:first-child { text-align: left; padding-right: 1.4rem; position:
  sticky; left: 0; background: var(--page); }
tr.best td { font-weight: 650; } tr.paper td { color: var(--soft); font-style: italic; } tr.variant td:first-child {
  padding-left: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: .6rem; padding: .75rem .95rem; }
.card b { display: block; font-size: 1.45rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .85rem; display: block; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.2rem 1.6rem;
  margin: .8rem 0; }
.figures.wide { grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
figure { margin: 0; break-inside: avoid; } figure svg { width: 100%; height: auto; max-width: 34rem; display: block; }
figure svg text { font-family: inherit !important; }
figcaption { font-size: .85rem; line-height: 1.4; margin-top: .2rem; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; font-size: .85rem; margin: .3rem 0; padding: 0;
  list-style: none; }
.legend i { display: inline-block; width: 1.3rem; height: 0; border-top: 3px solid; vertical-align: middle;
  margin-right: .4rem; }
.legend i.dashed { border-top-style: dashed; border-top-width: 2px; }
.tables { display: flex; flex-wrap: wrap; gap: 0 2.5rem; } .tables > div { max-width: 100%; min-width: 0; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--mark); padding: .25rem 0; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .7rem .9rem; overflow-x:
  auto; font-size: .8rem; line-height: 1.45; margin: .4rem 0 1rem; }
footer { color: var(--soft); font-size: .85rem; padding: 2.5rem 1.1rem 3rem; }
@media (max-width: 40rem) { body { font-size: 15px; } header { padding-top: 1.3rem; } h1 { font-size: 1.4rem; } h2 {
  font-size: 1.15rem; margin-top: 2.2rem; }
  table { font-size: .8rem; } th, td { padding-right: .6rem; } th { white-space: normal; }
  .scroll > table td:first-child, .scroll > table
  th:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; max-width: 9rem; padding-right: .7rem; } }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff; --panel: #fff; --mark: #000; } nav {
  display: none; } body { font-size: 10pt; }
  header, main, footer { max-width: none; padding: 0; } p, li { max-width: none; }
  h2 { margin-top: 1.4rem; } h2, h3, .legend, .caption, summary, p:has(+ .figures), p:has(+ .legend)
  { break-after: avoid; }
  .scroll { overflow: visible; background: none; } table { font-size: 7.5pt; } thead { display: table-header-group; }
  th, td { padding-right: .4rem; white-space: normal; }
  .scroll > table th:first-child, .scroll > table td:first-child { position: static; }
  .figures, .figures.wide { grid-template-columns: 1fr 1fr; } .figures:has(> figure:only-child) { grid-template-columns:
  minmax(0, 28rem); }
  details::details-content { content-visibility: visible; height: auto; } summary { list-style: none; color: inherit;
  font-weight: 600; } footer { padding: 1rem 0; }
  pre { white-space: pre-wrap; font-size: 6.5pt; line-height: 1.25; } pre.narrow { columns: 2; }
  tr, .card, .tables > div { break-inside: avoid; } }
"""


def page(title: str, lead: str, sections: Iterable[tuple[str, str, str]], footer: str) -> str:
    """The document; sections: (anchor, title, HTML). title, lead and footer are text."""
    sections = list(sections)
    links = "".join(f'<a href="#{escape(anchor)}">{escape(name)}</a>' for anchor, name, _ in sections)
    body = "".join(
        f'<section id="{escape(anchor)}"><h2>{escape(name)}</h2>{content}</section>\n'
        for anchor, name, content in sections
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<header><h1>{escape(title)}</h1><p "
        f'class="lead">{escape(lead)}</p></header>\n'
        f"<nav><div>{links}</div></nav>\n<main>\n{body}</main>\n<footer>{escape(footer)}</footer>\n</body>\n</html>\n"
    )


def _running(text: str) -> str:
    """Escaped text whose numbers stay whole."""
    return NO_BREAK.sub("&nbsp;", escape(text))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text."""
    return f"<p{f' class={kind}' if kind else ''}>{_running(text)}</p>"


def table(rows: Table, caption: str = "", classes: Mapping[str, str] | None = None) -> str:
    """A table with a header row, in a box that scrolls sideways on a phone; classes: {first cell: class of its row}.

    The caption stands outside of the box, so that it does not scroll away.
    """
    head = "".join(f"<th>{HEAD_BREAKS.sub('<wbr>', escape(cell))}</th>" for cell in rows[0])
    body = ""
    for row in rows[1:]:
        kind = (classes or {}).get(row[0], "")
        cells = [BREAKS.sub(r"\1<wbr>", escape(row[0])), *map(escape, row[1:])]
        body += (f'<tr class="{kind}">' if kind else "<tr>") + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    title = paragraph(caption, "caption") if caption else ""
    return f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def tables(items: Iterable[str]) -> str:
    """Small tables side by side, as many as fit."""
    return f'<div class="tables">{"".join(f"<div>{item}</div>" for item in items)}</div>'


def figure(svg: str, caption: str) -> str:
    """A drawing with its caption."""
    return f"<figure>{svg}<figcaption>{_running(caption)}</figcaption></figure>"


def figures(items: Iterable[str], wide: bool = False) -> str:
    """Drawings side by side, as many as fit."""
    return f'<div class="figures{" wide" if wide else ""}">{"".join(items)}</div>'


def legend(colour: Mapping[str, str], dashed: Iterable[str] = ()) -> str:
    """Names and the colours of their lines."""
    thin = set(dashed)
    items = (
        f'<li><i{" class=dashed" if name in thin else ""} style="border-color:{value}"></i>{escape(name)}</li>'
        for name, value in colour.items()
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def cards(items: Iterable[tuple[str, str, str]]) -> str:
    """Boxes of (above, large, below)."""
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><span>{escape(above)}</span><b>{escape(large)}</b><span>{escape(below)}</span></div>'
            for above, large, below in items
        )
        + "</div>"
    )


def details(title: str, content: str) -> str:
    """Content that opens when asked for."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def listing(items: Iterable[str]) -> str:
    """A bulleted list of text."""
    return "<ul>" + "".join(f"<li>{_running(item)}</li>" for item in items) + "</ul>"


def preformatted(text: str) -> str:
    """Text as it is; in print in two columns where its lines are short."""
    narrow = max(map(len, text.splitlines()), default=0) < 50
    return f"<pre{' class=narrow' if narrow else ''}>{escape(text)}</pre>"
