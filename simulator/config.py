"""How one simulator is to behave: everything that is fixed when it starts."""

from __future__ import annotations

from dataclasses import dataclass

DEMO_REGIONS = ("eu-de", "eu-nl")


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """The options of one simulator.

    Attributes:
        host: address to listen on.
        port: port of the main listener (identity, and CSS of the first region); 0 takes a free one.
        public_host: host name to write into clouds.yaml and the catalog, "" for `host`.
        demo: start with the demo clusters.
        clusters: how many plain clusters to add besides.
        job_seconds: how long a log backup job runs, in seconds, unless its cluster says otherwise.
        token_seconds: lifetime of a token in seconds (the cloud: 24 h).
        clock_offset: seconds by which the cloud's clock is ahead of this machine's.
        seed: seed of the faults that strike by chance; None for a different course each time.
        regions: one project each; the first is served by the main listener, each other by its own.
        keystone_url: check X-Auth-Token at this identity service (".../v3") instead of our own.
        trust_any_token: accept every token that is not empty.
    """

    host: str = "127.0.0.1"
    port: int = 0
    public_host: str = ""
    demo: bool = False
    clusters: int = 0
    job_seconds: float = 4.0
    token_seconds: float = 86_400.0
    clock_offset: float = 0.0
    seed: int | None = None
    regions: tuple[str, ...] = ("eu-de",)
    keystone_url: str = ""
    trust_any_token: bool = False

    @property
    def external_identity(self) -> bool:
        """Tokens are not ours, nor are project ids: each of them reaches the first project."""
        return bool(self.keystone_url) or self.trust_any_token

    @property
    def advertised_host(self) -> str:
        """The host name that clients are told to use."""
        if self.public_host:
            return self.public_host
        return "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host  # noqa: S104
