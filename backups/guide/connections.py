"""Connections in words: why one could not be used, who acts, what to do."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from backups.choices import ConnectionFault

from .explanation import Actor, Explanation

CONNECTION_FAULTS: dict[ConnectionFault, Explanation] = {
    ConnectionFault.CONFIGURATION: Explanation(
        _("The entry in clouds.yaml cannot be used as it is, so nothing was sent."),
        Actor.DASHBOARD_ADMIN,
        _("Correct clouds.yaml or secure.yaml on the server; it is read again by itself."),
        False,
    ),
    ConnectionFault.REFUSED: Explanation(
        _("The identity service refused the credentials of the entry."),
        Actor.DASHBOARD_ADMIN,
        _(
            "Check user, password or application credential, domain and project of the entry; the "
            "account may be locked or expired. Refused credentials are not sent again for up to "
            "five minutes; after a change of clouds.yaml at once."
        ),
        False,
    ),
    ConnectionFault.SECOND_FACTOR: Explanation(
        _("The account needs a second factor to sign in, which a server cannot give."),
        Actor.DASHBOARD_ADMIN,
        _("Use an application credential, or a user without a second factor."),
        False,
    ),
    ConnectionFault.ADDRESS: Explanation(
        _("Something answers at auth_url, but not as an identity service (API v3)."),
        Actor.DASHBOARD_ADMIN,
        _("Correct auth_url of the entry: https://iam.REGION.otc.t-systems.com/v3, for example."),
        False,
    ),
    ConnectionFault.CATALOG: Explanation(
        _("The sign-in went well, but it leads to no Cloud Search Service in this region."),
        Actor.DASHBOARD_ADMIN,
        _(
            "Check region_name, interface and project of the entry. Where the catalog has no css, "
            "set css_endpoint_override."
        ),
        False,
    ),
    ConnectionFault.DNS: Explanation(
        _("The name of the cloud's host cannot be resolved on this server."),
        Actor.DASHBOARD_ADMIN,
        _("Check the spelling of the address in the entry, and DNS on this server."),
        True,
    ),
    ConnectionFault.TLS: Explanation(
        _("No secure connection to the cloud could be made; its certificate may not be trusted."),
        Actor.DASHBOARD_ADMIN,
        _("Check the address and its port, cacert of the entry, and proxies that open TLS."),
        True,
    ),
    ConnectionFault.PROXY: Explanation(
        _("The proxy between this server and the cloud did not let the request through."),
        Actor.DASHBOARD_ADMIN,
        _("Check HTTPS_PROXY and NO_PROXY of the server, and the proxy's own rules."),
        True,
    ),
    ConnectionFault.UNREACHABLE: Explanation(
        _("No connection to the cloud's host could be made; nothing was sent."),
        Actor.DASHBOARD_ADMIN,
        _("Check the address and its port, and network and firewalls from here to the cloud."),
        True,
    ),
    ConnectionFault.UNANSWERED: Explanation(
        _("The cloud was reached, but gave no whole answer in time."),
        Actor.WAIT,
        _("It is tried again by itself; if it lasts, look at the cloud's status page."),
        True,
    ),
    ConnectionFault.FORBIDDEN: Explanation(
        _("Signed in, but the entry's user may not do this in the project."),
        Actor.IAM_ADMIN,
        _("Grant the user a role with css:cluster:list and css:cluster:get in this project."),
        False,
    ),
    ConnectionFault.NOT_FOUND: Explanation(
        _("The service says that there is nothing at the address it was asked at."),
        Actor.DASHBOARD_ADMIN,
        _("Check project and css_endpoint_override of the entry; without one, ask the provider."),
        False,
    ),
    ConnectionFault.THROTTLED: Explanation(
        _("The cloud received too many requests and turned this one away."),
        Actor.WAIT,
        _("It is tried again by itself; a longer SYNC_INTERVAL asks the cloud less often."),
        True,
    ),
    ConnectionFault.SERVER_ERROR: Explanation(
        _("The cloud answered with an error of its own."),
        Actor.PROVIDER,
        _("It is tried again by itself. If it repeats, give the cloud's support this answer."),
        True,
    ),
    ConnectionFault.MALFORMED: Explanation(
        _("The answer is none that this service gives; a proxy or a login page may stand between."),
        Actor.DASHBOARD_ADMIN,
        _("Check the address, and any proxy between this server and the cloud."),
        True,
    ),
    ConnectionFault.INTERNAL: Explanation(
        _("The cloud's list was read, but could not be stored. The clusters are as they were."),
        Actor.DASHBOARD_ADMIN,
        _("Read the worker's log at this time; it is tried again by itself."),
        True,
    ),
}

# Not a fault of a sync: the file no longer names what is still connected.
ENTRY_LEFT = Explanation(
    _("clouds.yaml no longer has this entry, so its clusters cannot be reached."),
    Actor.DASHBOARD_ADMIN,
    _("Put it back into clouds.yaml, or disconnect it: its clusters are then marked as gone."),
    False,
)
