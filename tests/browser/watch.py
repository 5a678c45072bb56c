"""Watches what a browser complains of: nothing may be wrong on any page of any test."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext

# Console lines about the policy name no directive in a form of their own; the event does.
LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  window.tellPolicyViolation(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
# the browser's own doing when a page is left, or when an answer is a file
LEFT = "net::ERR_ABORTED"


@dataclass
class Watch:
    """What went wrong in the followed contexts, but for what a test provokes.

    Attributes:
        problems: one line each.
        expected: patterns of problems that belong to the test.
    """

    problems: list[str] = field(default_factory=list)
    expected: list[re.Pattern[str]] = field(default_factory=list)

    def follow(self, context: BrowserContext) -> BrowserContext:
        """Watch all pages of a context: console, scripts, requests, answers and the policy."""
        tell = self.problems.append
        context.expose_binding(
            "tellPolicyViolation",
            lambda source, text: tell(f"policy: {text} on {source['page'].url}"),
        )
        context.add_init_script(LISTEN)
        context.on(
            "console",
            lambda said: said.type == "error" and tell(f"console: {said.text} on {said.page.url}"),
        )
        context.on("weberror", lambda error: tell(f"script: {error.error}"))
        context.on(
            "requestfailed",
            lambda request: (
                request.failure != LEFT
                and tell(f"request: {request.failure} {request.method} {request.url}")
            ),
        )
        context.on(
            "response",
            lambda answer: (
                answer.status >= 400
                and tell(f"answer: {answer.status} {answer.request.method} {answer.url}")
            ),
        )
        return context

    def expect(self, *patterns: str) -> None:
        """Say what the test provokes; each pattern must be met, and forgives what it matches."""
        self.expected += [re.compile(pattern) for pattern in patterns]

    def expect_answers(self, *statuses: int) -> None:
        """Say with which statuses requests of this test are refused."""
        # as the browser's console says it, and as the answer came
        self.expect(*(rf"status of {status}\b|^answer: {status} " for status in statuses))

    def verify(self) -> None:
        """Assert that nothing was wrong but what was expected, and that all of that was."""
        wrong = [
            line
            for line in self.problems
            if not any(pattern.search(line) for pattern in self.expected)
        ]
        assert not wrong, "the browser complained:\n" + "\n".join(wrong)
        unmet = [
            pattern.pattern
            for pattern in self.expected
            if not any(pattern.search(line) for line in self.problems)
        ]
        assert not unmet, f"expected, and never happened: {unmet}"
