"""What axe does not look at: reflow, focus, motion, and how a page is put together."""

from __future__ import annotations

from playwright.sync_api import Page

# WCAG 1.4.10 asks for 320 CSS px; a window of 1280 at 200 % has 640.
REFLOW = ({"width": 320, "height": 568}, {"width": 640, "height": 512})

STRUCTURE = """
() => {
  const found = [], name = (e) => e.outerHTML.slice(0, 120).replace(/\\s+/g, " ");
  if (!/^\\S.* · CSS Log Backup$/.test(document.title)) found.push(`title: ${document.title}`);
  if (!document.documentElement.lang) found.push("lang: none");
  const firsts = document.querySelectorAll("h1").length;
  if (firsts !== 1) found.push(`h1: ${firsts} of them`);
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption?.textContent.trim()) found.push(`table without a caption: ${name(table)}`);
    if (!table.querySelector("th")) found.push(`table without heads: ${name(table)}`);
    for (const head of table.querySelectorAll("th:not([scope])")) found.push(`th without a scope: ${name(head)}`);
  }
  for (const id of ["notices", "live-status", "announce"]) {
    const region = document.getElementById(id);
    if (!region?.matches("[aria-live], [role=status]")) found.push(`no live region #${id}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) found.push(`id twice: ${id}`);
  for (const e of document.querySelectorAll("[style], [onclick]")) found.push(`inline: ${name(e)}`);
  return found;
}
"""

# asked with prefers-reduced-motion: reduce
MOTION = """
() => {
  const found = new Set(), long = (times) => times.split(",").some((time) => parseFloat(time) > 0.01);
  for (const e of document.querySelectorAll("*")) {
    const style = getComputedStyle(e);
    const moves = style.animationName !== "none" && long(style.animationDuration);
    const changes = style.transitionProperty !== "none" && long(style.transitionDuration);
    if (moves || changes) found.add(`motion: ${e.localName}.${e.getAttribute("class")}`);
  }
  return [...found];
}
"""

# who reaches beyond the window, without being in something that scrolls by itself
WIDER = """
() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const scrolls = (e) => e && e !== document.body && (/auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const wide = [...document.body.querySelectorAll("*")].filter(
    (e) => e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement));
  const texts = [], nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  while (nodes.nextNode()) { // a text may stand out of its element
    range.selectNodeContents(nodes.currentNode);
    if (range.getBoundingClientRect().right > width + 1 && !scrolls(nodes.currentNode.parentElement)) texts.push(nodes.currentNode);
  }
  return [`scrolls sideways at ${width}: ` + document.documentElement.scrollWidth + " " +
    [...wide.slice(-3).map((e) => e.outerHTML), ...texts.slice(-3).map((t) => t.data)]
      .map((found) => found.slice(0, 100).replace(/\\s+/g, " ")).join(" | ")];
}
"""

# Each thing that takes the focus: it must look different with it, and must not be covered whole.
FOCUS = """
() => {
  const found = [], seen = new Set();
  const look = (e) => { const s = getComputedStyle(e);
    return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.borderColor].join(); };
  for (const row of document.querySelectorAll(".rows tr")) row.classList.add("whole"); // as a click does
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
  for (const e of all) {
    if (e.disabled || e.type === "hidden" || e.tabIndex < 0 || !e.checkVisibility({visibilityProperty: true})) continue;
    const kind = `${e.localName}.${e.className}#${e.closest("[id]")?.id.replace(/\\d+/g, "N")}`;
    if (seen.has(kind)) continue;
    seen.add(kind);
    document.activeElement.blur();
    const before = look(e);
    e.focus();
    if (document.activeElement !== e) { found.push(`takes no focus: ${kind}`); continue; }
    if (look(e) === before) found.push(`focus not to be seen: ${kind}`);
    const box = e.getBoundingClientRect();
    const places = [[.5, .5], [.1, .2], [.9, .2], [.1, .8], [.9, .8]].map(([x, y]) =>
      document.elementFromPoint(box.left + box.width * x, box.top + box.height * y));
    if (!places.some((there) => there && (e.contains(there) || there.contains(e) || there.closest("label")?.control === e)))
      found.push(`focus covered: ${kind} by ${places[0]?.outerHTML.slice(0, 60)}`);
  }
  return found;
}
"""


def structure(page: Page) -> list[str]:
    """Title, language, headings, tables, live regions, ids."""
    return list(page.evaluate(STRUCTURE))


def motion(page: Page) -> list[str]:
    """What moves although the window asks for less motion."""
    return list(page.evaluate(MOTION))


def sideways(page: Page) -> list[str]:
    """What makes the page scroll sideways in a small window, or at 200 %."""
    found: list[str] = []
    for size in REFLOW:
        page.set_viewport_size(size)
        found += page.evaluate(WIDER)
    return found


def focus(page: Page) -> list[str]:
    """What does not show that it has the focus, or shows it where it is covered."""
    page.keyboard.press("Tab")  # from here on the browser takes the keyboard as what is used
    return list(page.evaluate(FOCUS))
