"""Configuration of a simulator, which is fixed at its start."""

from __future__ import annotations

from dataclasses import dataclass

DEMO_REGIONS = ("eu-de", "eu-nl")


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Options of a simulator.

    Attributes:
        host: address to listen on.
        port: port of the main listener (identity, and CSS of the first region); 0 for a free port.
        public_host: host name in clouds.yaml and the catalog; "" for `host`.
        demo: start with the demo clusters.
        clusters: number of plain clusters to add.
        job_seconds: duration of a log backup job, in seconds, unless its cluster sets another.
        token_seconds: lifetime of a token, in seconds (24 h in the real cloud).
        clock_offset: seconds by which the cloud's clock is ahead of this machine's.
        seed: seed for faults with a probability; None for different results on each run.
        regions: regions with one project each. The main listener serves the first region; each of
            the others has its own listener.
        keystone_url: URL (".../v3") of an identity service that validates X-Auth-Token in place of
            the simulator's own.
        trust_any_token: accept every non-empty token.
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
        """True if tokens and project ids are foreign; every project id means the first project."""
        return bool(self.keystone_url) or self.trust_any_token

    @property
    def advertised_host(self) -> str:
        """Host name in the URLs given to clients."""
        if self.public_host:
            return self.public_host
        return "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host  # noqa: S104
