"""axe-core on a page, and its findings in lines that say where and what."""

from __future__ import annotations

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

# WCAG 2.0 to 2.2, A and AA, and axe's own best practices
ALL_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = ["color-contrast"]

# colours on their way to those of another theme are neither
SETTLE = "document.getAnimations().forEach(each => { try { each.finish() } catch {} })"
RUN = """
options => axe.run(document, options).then(found => found.violations.flatMap(rule =>
  rule.nodes.map(node => `${rule.id}: ${node.target.join(" ")} | ${node.html.slice(0, 160).replace(/\\s+/g, " ")} | ` +
    [...node.any, ...node.all, ...node.none].map(check => check.message).join("; "))))
"""


def findings(page: Page, rules: list[str]) -> list[str]:
    """What axe finds on a page as it stands: rule, element and reason, one line each.

    Args:
        rules: ALL_RULES or CONTRAST.
    """
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(AXE_SCRIPT)
    page.evaluate(SETTLE)
    options = {
        "runOnly": {"type": "tag" if rules is ALL_RULES else "rule", "values": rules},
        "resultTypes": ["violations"],
        # WCAG 2.2, and not among axe's defaults
        **({"rules": {"target-size": {"enabled": True}}} if rules is ALL_RULES else {}),
    }
    return list(page.evaluate(RUN, options))
