"""Who may open which URL: an entry for each, and a test that fails for a URL that has none.

To add a URL, add a line to MATRIX under its name: what it is `of`, and what each method needs.

    "backups:cluster-backup": Url(of="cluster", POST=here(RUN)),

A method that is not named is answered with 405. `of` names what the URL's number belongs to; the
kinds are made in tests/access/conftest.py. A page that lists rows of several projects says
`lists=True`: it must then show rows of one's own project and none of another's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from dashboard.accounts.access import Permission
from dashboard.tokens.models import Scope

SEE, RUN, CONFIGURE = Permission.SEE, Permission.RUN, Permission.CONFIGURE
SETTLE = Permission.SETTLE
EXPORT, AUDIT, MEMBERS = Permission.EXPORT, Permission.AUDIT, Permission.MEMBERS


class Where(Enum):
    """The scope of a permission, and the answer without it."""

    PUBLIC = auto()  # no sign-in required
    SIGNED_IN = auto()  # any account; the content is filtered
    OWNER = auto()  # the user's own objects; 404 for those of others
    HERE = auto()  # for the object's project: 404 if it is not visible, else 403
    HIDDEN = auto()  # for the object's project: 404
    SOMEWHERE = auto()  # for some project: 403; an object of another project is 404
    EVERYWHERE = auto()  # for all projects: 403


@dataclass(frozen=True, slots=True)
class Need:
    """What a method needs."""

    where: Where
    permission: Permission | None = None


PUBLIC, SIGNED_IN, OWNER = Need(Where.PUBLIC), Need(Where.SIGNED_IN), Need(Where.OWNER)


def here(permission: Permission) -> Need:
    """For the object's project: 404 for users who cannot see it, else 403."""
    return Need(Where.HERE, permission)


def hidden(permission: Permission) -> Need:
    """For the object's project: 404 for all others."""
    return Need(Where.HIDDEN, permission)


def somewhere(permission: Permission) -> Need:
    """In at least one project, and for the object's project if it has one: else 403."""
    return Need(Where.SOMEWHERE, permission)


def everywhere(permission: Permission) -> Need:
    """For all projects: else 403."""
    return Need(Where.EVERYWHERE, permission)


@dataclass(frozen=True, slots=True)
class Url:
    """What a URL needs.

    Attributes:
        of: the kind of thing whose key is in the URL; "" for none.
        GET, POST, PUT, DELETE: what the method needs; None where it is answered with 405.
        query: sent with a GET.
        shown: a kind: both projects' things of it are sent as what a page shows.
        data: sent with a POST; to the API as JSON, and with a PUT.
        lists: it shows rows: those of one's projects and no others.
        lists_by: the method that shows them; "" for the POST where there is one.
        answers: statuses that mean that the method was permitted.
        scope: what a token needs for a POST or PUT.
    """

    of: str = ""
    GET: Need | None = None
    POST: Need | None = None
    PUT: Need | None = None
    DELETE: Need | None = None
    query: str = ""
    shown: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    lists: bool = False
    lists_by: str = ""
    answers: frozenset[int] = frozenset({200, 204, 302, 400, 409, 422})
    scope: Scope = Scope.RUN


ALL_PARTS = "shown=" + ",".join(f"{part}:x" for part in range(1, 6))

MATRIX: dict[str, Url] = {
    # --- sign-in; the names with "account_" and "mfa_" are django-allauth's
    "login": Url(GET=PUBLIC, POST=PUBLIC),
    "account_login": Url(GET=PUBLIC, POST=PUBLIC),
    "mfa_authenticate": Url(GET=PUBLIC, POST=PUBLIC),
    "sign-in-link": Url(GET=PUBLIC, POST=PUBLIC),
    "oidc-start": Url(GET=PUBLIC, POST=PUBLIC),
    "oidc-callback": Url(GET=PUBLIC),
    "logout": Url(POST=SIGNED_IN),
    # --- one's own account
    "account": Url(GET=SIGNED_IN),
    "preferences": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "version": Url(GET=SIGNED_IN),
    "session-end": Url(POST=SIGNED_IN, data={"session": "others"}),
    "account_change_password": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "account_reauthenticate": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "mfa_reauthenticate": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "mfa_reauthenticate_webauthn": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "mfa_index": Url(GET=SIGNED_IN),
    "mfa_activate_totp": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "mfa_deactivate_totp": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "mfa_add_webauthn": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "mfa_remove_webauthn": Url(of="security_key", GET=OWNER, POST=OWNER),
    "mfa_view_recovery_codes": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "mfa_generate_recovery_codes": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    # --- API tokens
    "tokens:own": Url(GET=SIGNED_IN),
    "tokens:create": Url(GET=SIGNED_IN, POST=SIGNED_IN),
    "tokens:revoke": Url(of="api_token", POST=OWNER),
    "tokens:all": Url(GET=everywhere(AUDIT)),
    "tokens:revoke-any": Url(of="api_token", POST=everywhere(MEMBERS)),
    # --- home
    "backups:home": Url(GET=SIGNED_IN, lists=True),
    "backups:home-live": Url(GET=SIGNED_IN, query=ALL_PARTS, lists=True),
    "backups:frame-live": Url(GET=SIGNED_IN),
    "backups:api-reference": Url(GET=SIGNED_IN),
    "backups:search": Url(GET=SIGNED_IN, query="q=e", lists=True),
    # --- clusters
    "backups:clusters": Url(GET=SIGNED_IN, lists=True),
    "backups:clusters-live": Url(GET=SIGNED_IN, shown="cluster", lists=True),
    "backups:cluster-detail": Url(of="cluster", GET=here(SEE)),
    "backups:cluster-detail-live": Url(of="cluster", GET=here(SEE), shown="cluster"),
    "backups:cluster-backup": Url(of="cluster", POST=here(RUN)),
    "backups:cluster-check": Url(of="cluster", POST=here(RUN)),
    "backups:cluster-archive": Url(of="cluster", POST=here(CONFIGURE)),
    "backups:cluster-restore": Url(of="cluster", POST=here(CONFIGURE)),
    "backups:cluster-labels": Url(of="cluster", POST=here(CONFIGURE)),
    "backups:cluster-objective": Url(of="cluster", POST=here(CONFIGURE), data={"hours": "12"}),
    "backups:log-settings": Url(of="cluster", GET=here(SEE), POST=here(CONFIGURE)),
    "backups:cluster-bucket": Url(of="cluster", GET=here(RUN)),
    "backups:log-search": Url(of="cluster", GET=here(RUN)),
    # --- attention
    "backups:handle": Url(
        GET=somewhere(RUN),
        POST=somewhere(RUN),
        query="cause=never",
        data={"cause": "never", "reason": "planned", "lasts": "4"},
    ),
    "backups:handling-end": Url(of="handling", POST=here(RUN)),
    # --- protection
    "backups:protection": Url(GET=SIGNED_IN, lists=True),
    "backups:report": Url(GET=SIGNED_IN, query="span=this_month", lists=True),
    "backups:report-csv": Url(GET=SIGNED_IN, query="span=this_month", lists=True),
    "backups:project-objective": Url(of="project", POST=here(CONFIGURE), data={"hours": "12"}),
    # --- batches
    "backups:batches": Url(GET=SIGNED_IN, POST=somewhere(RUN), lists=True, lists_by="GET"),
    "backups:batch-new": Url(GET=somewhere(RUN)),
    "backups:batch": Url(of="batch", GET=here(SEE)),
    "backups:batch-live": Url(of="batch", GET=here(SEE), query="shown=1:x"),
    "backups:batch-cancel": Url(of="batch", POST=here(RUN)),
    "backups:batch-retry": Url(of="batch", POST=here(RUN)),
    "backups:batch-json": Url(of="batch", GET=here(SEE)),
    # --- schedules
    "backups:schedules": Url(GET=SIGNED_IN, lists=True),
    "backups:schedule-new": Url(GET=somewhere(RUN), POST=somewhere(RUN)),
    "backups:schedule": Url(of="schedule", GET=here(SEE)),
    "backups:schedule-edit": Url(of="schedule", GET=here(CONFIGURE), POST=here(CONFIGURE)),
    "backups:schedule-run": Url(of="schedule", POST=here(RUN)),
    "backups:schedule-switch": Url(of="schedule", POST=here(CONFIGURE), data={"on": "0"}),
    "backups:schedule-delete": Url(of="schedule", POST=here(CONFIGURE)),
    # --- history and runs
    "backups:history": Url(GET=SIGNED_IN, query="window=all", lists=True),
    "backups:history-live": Url(GET=SIGNED_IN, shown="run", lists=True),
    "backups:history-count": Url(GET=SIGNED_IN),
    "backups:saved-views": Url(POST=SIGNED_IN, data={"name": "a view"}),
    "backups:saved-view-delete": Url(of="saved_view", POST=OWNER),
    "backups:exports": Url(
        GET=SIGNED_IN,
        POST=somewhere(EXPORT),
        data={"format": "csv", "query": "window=all"},
        lists=True,
    ),
    "backups:exports-live": Url(GET=SIGNED_IN, query="shown=1:x"),
    "backups:run-detail": Url(of="run", GET=here(SEE)),
    "backups:run-live": Url(of="run", GET=here(SEE), shown="run"),
    "backups:run-cancel": Url(of="run", POST=here(RUN)),
    "backups:run-settle": Url(of="run", POST=here(SETTLE)),
    "backups:run-json": Url(of="run", GET=here(SEE)),
    # --- settings
    "backups:settings": Url(GET=SIGNED_IN),
    "backups:display": Url(POST=SIGNED_IN, data={"rows": "50"}),
    "backups:list-look": Url(POST=SIGNED_IN, data={"list": "history", "rows": "50"}),
    "backups:connections": Url(GET=SIGNED_IN, lists=True),
    "backups:connection-entry": Url(GET=everywhere(CONFIGURE)),
    "backups:connections-live": Url(GET=SIGNED_IN, shown="connection", lists=True),
    "backups:connection-test": Url(POST=everywhere(CONFIGURE), answers=frozenset({404})),
    "backups:connection-connect": Url(POST=everywhere(CONFIGURE), answers=frozenset({404})),
    "backups:connection-disconnect": Url(of="connection", POST=everywhere(CONFIGURE)),
    "backups:connection-file-checks": Url(of="connection", POST=everywhere(CONFIGURE)),
    "backups:connection-sync": Url(of="connection", POST=here(RUN)),
    "backups:cluster-register": Url(POST=everywhere(CONFIGURE)),
    "backups:adoption": Url(GET=everywhere(CONFIGURE), POST=everywhere(CONFIGURE)),
    "backups:retention": Url(GET=everywhere(AUDIT)),
    "backups:retention-change": Url(POST=everywhere(CONFIGURE)),
    "backups:retention-run": Url(POST=everywhere(CONFIGURE)),
    "backups:notifications": Url(GET=everywhere(AUDIT)),
    "backups:delivery-log": Url(GET=everywhere(AUDIT)),
    "backups:channel-add": Url(GET=everywhere(CONFIGURE), POST=everywhere(CONFIGURE)),
    "backups:channel": Url(
        of="channel", GET=everywhere(CONFIGURE), POST=everywhere(CONFIGURE), data={"name": "new"}
    ),
    # its address is refused, so the test message fails
    "backups:channel-test": Url(of="channel", POST=everywhere(CONFIGURE), answers=frozenset({502})),
    "backups:channel-delete": Url(
        of="channel", POST=everywhere(CONFIGURE), data={"confirmed": "1"}
    ),
    "backups:rule-add": Url(POST=everywhere(CONFIGURE)),
    "backups:rule-delete": Url(of="rule", POST=everywhere(CONFIGURE)),
    "members:grants": Url(GET=somewhere(AUDIT), lists=True),
    "members:grant-add": Url(POST=somewhere(MEMBERS)),
    "members:grant-withdraw": Url(of="grant", POST=hidden(MEMBERS)),
    "members:accounts": Url(
        GET=everywhere(AUDIT), POST=everywhere(MEMBERS), data={"name": "new", "how": "link"}
    ),
    "members:account": Url(
        of="account",
        GET=everywhere(AUDIT),
        POST=everywhere(MEMBERS),
        data={"do": "deactivate", "confirmed": "1"},
    ),
    "members:account-sign-in": Url(
        of="account", GET=everywhere(MEMBERS), POST=everywhere(MEMBERS), data={"do": "link"}
    ),
    "members:groups": Url(
        GET=everywhere(AUDIT), POST=everywhere(MEMBERS), data={"name": "a new group"}
    ),
    "members:group": Url(
        of="group",
        GET=everywhere(AUDIT),
        POST=everywhere(MEMBERS),
        data={"do": "delete", "confirmed": "1"},
    ),
    # --- audit trail
    "audit:events": Url(GET=somewhere(AUDIT), lists=True),
    "audit:event-detail": Url(of="audit_event", GET=somewhere(AUDIT)),
    "audit:chain-status": Url(GET=somewhere(AUDIT)),
    "audit:verify": Url(POST=everywhere(AUDIT)),
}

# Addresses of the API: sessions count for nothing there, tokens do. A GET needs a token that may
# read, other methods one of the scope `scope`; what the account needs beside that is said as above.
# Methods that are not named are answered with 405 to everybody.
MANAGE = Scope.MANAGE
API_MATRIX: dict[str, Url] = {
    "api:token": Url(GET=SIGNED_IN),
    "api:me": Url(GET=SIGNED_IN),
    "api:version": Url(GET=SIGNED_IN),
    "api:tokens": Url(GET=SIGNED_IN),
    # a token may revoke itself with any scope
    "api:token-revoke": Url(of="api_token", POST=OWNER, scope=MANAGE),
    "api:openapi": Url(GET=SIGNED_IN),
    "api:clusters": Url(
        GET=SIGNED_IN,
        POST=everywhere(CONFIGURE),
        scope=MANAGE,
        data={"connection": 2**40, "cluster_id": "x"},
        answers=frozenset({200, 404}),
        lists=True,
    ),
    "api:cluster": Url(of="cluster", GET=here(SEE)),
    "api:cluster-backups": Url(of="cluster", POST=here(RUN), answers=frozenset({200, 202})),
    "api:cluster-check": Url(of="cluster", POST=here(RUN), answers=frozenset({202})),
    "api:cluster-archive": Url(
        of="cluster", POST=here(CONFIGURE), scope=MANAGE, data={"reason": "x"}
    ),
    "api:cluster-restore": Url(of="cluster", POST=here(CONFIGURE), scope=MANAGE),
    "api:cluster-labels": Url(
        of="cluster", PUT=here(CONFIGURE), scope=MANAGE, data={"labels": {"team": "a"}}
    ),
    "api:cluster-objective": Url(
        of="cluster", PUT=here(CONFIGURE), scope=MANAGE, data={"hours": 12}
    ),
    # 502: there is no cloud
    "api:log-settings": Url(
        of="cluster",
        GET=here(SEE),
        PUT=here(CONFIGURE),
        scope=MANAGE,
        data={"enabled": False},
        answers=frozenset({200, 502}),
    ),
    "api:log-settings-read": Url(
        of="cluster", POST=here(CONFIGURE), scope=MANAGE, answers=frozenset({502})
    ),
    "api:log-policy": Url(
        of="cluster",
        PUT=here(CONFIGURE),
        scope=MANAGE,
        data={"enabled": False},
        answers=frozenset({502}),
    ),
    "api:protection": Url(GET=SIGNED_IN),
    "api:projects": Url(GET=SIGNED_IN, lists=True),
    "api:project-objective": Url(
        of="project", PUT=here(CONFIGURE), scope=MANAGE, data={"hours": 12}
    ),
    "api:runs": Url(GET=SIGNED_IN, query="window=all", lists=True),
    "api:runs-export": Url(POST=somewhere(EXPORT), scope=Scope.READ),
    "api:run": Url(of="run", GET=here(SEE)),
    "api:run-cancel": Url(of="run", POST=here(RUN)),
    "api:run-settle": Url(
        of="run", POST=here(SETTLE), scope=MANAGE, data={"ruling": "started", "reason": "x"}
    ),
    "api:run-retry": Url(of="run", POST=here(RUN), answers=frozenset({200, 202})),
    "api:exports": Url(GET=SIGNED_IN),
    "api:export": Url(of="export", GET=OWNER),
    "api:batches": Url(GET=SIGNED_IN, POST=somewhere(RUN), lists=True, lists_by="GET"),
    "api:batch": Url(of="batch", GET=here(SEE)),
    "api:batch-cancel": Url(of="batch", POST=here(RUN)),
    "api:batch-retry": Url(of="batch", POST=here(RUN)),
    "api:connections": Url(
        GET=SIGNED_IN,
        POST=everywhere(CONFIGURE),
        scope=MANAGE,
        data={"cloud": "no-such"},
        answers=frozenset({200, 404}),
        lists=True,
    ),
    "api:connection": Url(of="connection", GET=hidden(SEE)),
    "api:connection-test": Url(
        POST=everywhere(CONFIGURE),
        scope=MANAGE,
        data={"cloud": "no-such"},
        answers=frozenset({404}),
    ),
    "api:connection-disconnect": Url(of="connection", POST=everywhere(CONFIGURE), scope=MANAGE),
    "api:connection-sync": Url(of="connection", POST=here(RUN), answers=frozenset({200, 202})),
    "api:connection-file-checks": Url(
        of="connection", PUT=everywhere(CONFIGURE), scope=MANAGE, data={"enabled": True}
    ),
    "api:audit": Url(GET=somewhere(AUDIT), query="window=all", lists=True),
    "api:audit-event": Url(of="audit_event", GET=somewhere(AUDIT)),
    "api:verifications": Url(
        GET=everywhere(AUDIT),
        POST=everywhere(AUDIT),
        scope=Scope.READ,
        answers=frozenset({200, 202}),
    ),
    "api:retention": Url(GET=everywhere(AUDIT)),
    "api:schedules": Url(
        GET=SIGNED_IN,
        PUT=somewhere(RUN),
        scope=MANAGE,
        data={"name": "nightly", "cron": "0 3 * * *", "filter": "q=no-such"},
        answers=frozenset({200, 201}),
        lists=True,
    ),
    "api:schedule": Url(
        of="schedule",
        GET=here(SEE),
        PUT=here(CONFIGURE),
        DELETE=here(CONFIGURE),
        scope=MANAGE,
        data={"name": "nightly", "cron": "0 3 * * *", "filter": "q=no-such"},
    ),
    "api:schedule-pause": Url(of="schedule", POST=here(CONFIGURE), scope=MANAGE),
    "api:schedule-resume": Url(of="schedule", POST=here(CONFIGURE), scope=MANAGE),
    "api:schedule-run": Url(of="schedule", POST=here(RUN), answers=frozenset({202, 409})),
    "api:schedule-firings": Url(of="schedule", GET=here(SEE)),
    "api:channels": Url(
        GET=everywhere(AUDIT),
        PUT=everywhere(CONFIGURE),
        scope=MANAGE,
        data={"name": "hook", "url": "https://127.0.0.1:9/hook"},
        answers=frozenset({200, 201}),
    ),
    "api:channel": Url(
        of="channel",
        GET=everywhere(AUDIT),
        PUT=everywhere(CONFIGURE),
        DELETE=everywhere(CONFIGURE),
        scope=MANAGE,
        data={"name": "hook"},
    ),
    "api:channel-test": Url(of="channel", POST=everywhere(CONFIGURE), scope=MANAGE),
    "api:rules": Url(
        GET=everywhere(AUDIT),
        PUT=everywhere(CONFIGURE),
        scope=MANAGE,
        data={"channel": 2**40, "kinds": ["run_failed"], "project": None},
    ),
    "api:rule": Url(of="rule", DELETE=everywhere(CONFIGURE), scope=MANAGE),
    "api:deliveries": Url(GET=everywhere(AUDIT)),
    "api:handlings": Url(
        GET=SIGNED_IN,
        POST=somewhere(RUN),
        data={"cause": "never", "project": None, "reason": "x", "until": "2035-01-01T00:00:00Z"},
        answers=frozenset({200, 201, 400}),
        lists=True,
    ),
    "api:handling-end": Url(of="handling", POST=here(RUN)),
    "api:report": Url(GET=SIGNED_IN, query="span=this_month", lists=True),
    # any other path below /api/: a 404 in JSON for everybody
    "api:unknown": Url(),
}
