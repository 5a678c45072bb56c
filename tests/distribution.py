"""Which tests run where, with which database, on which worker, and which start first."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

# Tests that take long, or wait for processes, start first: what runs at the end is short, so that
# no worker is left alone with it. The rest follows in its usual order.
FIRST = (
    "tests/timelines/",
    "tests/browser/test_every_page.py",
    "tests/api/test_api_contract.py",
    "tests/e2e/",
    "tests/chaos/",
    "tests/browser/",
    "tests/local_run/",
    "tests/docs/",
    "tests/compose/",
    "tests/proxies/",
    "tests/sign_in/test_first_admin.py::test_it_works_as_a_process_on_an_empty_database",
    "tests/audit/",
    "tests/dashboard/",
)
# Use no database, always the embedded one, or look at pages and paper, where each database's rows
# make the same page. `pytest --database-only` leaves them out.
WITHOUT_DATABASE = (
    "tests/browser/test_every_page.py",
    "tests/browser/test_run_on_paper_and_screen.py",
    "tests/browser/test_security_key.py",
    "tests/compose/",
    "tests/css_api/",
    "tests/dashboard/test_data_dir.py",
    "tests/dashboard/test_environment.py",
    "tests/dashboard/test_redis_tls.py",
    "tests/dashboard/test_system_checks.py",
    "tests/deploy/",
    # these start products of their own, without the suite's DATABASE_URL (tests/instances.py)
    "tests/dashboard/test_one_line_an_event.py",
    "tests/docs/test_api_examples.py",
    "tests/docs/test_document_commands.py::test_the_commands_of_a_page",
    "tests/e2e/test_a_day.py",
    "tests/e2e/test_metrics_trial.py",
    "tests/e2e/test_planted_secrets.py",
    "tests/e2e/test_redis_refuses_writes.py",
    "tests/e2e/test_same_id.py",
    "tests/e2e/test_shared_redis.py",
    "tests/e2e/test_told_without_redis.py",
    "tests/proxies/",
    "tests/sign_in/test_first_admin.py::test_it_works_as_a_process_on_an_empty_database",
    "tests/docs/test_distribution.py",
    "tests/docs/test_docs.py",
    "tests/docs/test_imports.py",
    "tests/docs/test_licences.py",
    "tests/docs/test_settings.py",
    "tests/language/test_templates.py",
    "tests/local_run/",
    "tests/rules/",
    "tests/simulator/",
)
# Their tests take minutes and share nothing.
BY_TEST = (
    "tests/api/test_api_contract.py",
    "tests/browser/test_every_page.py",
    "tests/timelines/",
)


def depends_on_the_database(nodeid: str) -> bool:
    """Whether another database can make a test end in another way."""
    return not nodeid.startswith(WITHOUT_DATABASE)


def rank(nodeid: str) -> int:
    """The place of a test in the order of the suite; equal ones keep theirs."""
    places = (place for place, start in enumerate(FIRST) if nodeid.startswith(start))
    return next(places, len(FIRST))


class Distribution(LoadScopeScheduling):
    """A file runs on one worker, so that its fixtures are set up once, and so does what shares a
    running product."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        super().__init__(config, log)  # type: ignore[arg-type]
        config.option.loadscopereorder = False  # the order of the collection counts

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(BY_TEST):
            return nodeid
        file = nodeid.partition("::")[0]
        folder = Path(file).parent
        return f"{folder}: stack" if _uses_the_stack(self.config.rootpath / file) else file


@cache
def _uses_the_stack(file: Path) -> bool:
    """Whether tests of a file have the fixture `stack`."""
    return re.search(r"\bstack: Stack[,)]", file.read_text()) is not None
