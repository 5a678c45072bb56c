"""A stand-in cloud over real HTTP: an identity service (Keystone v3 subset) and CSS, with faults.

It is a simulator and says so in everything it serves. It imports nothing of the product, so that
the product cannot pass by agreeing with itself; docs/css-api.md holds the facts it follows.
"""

from __future__ import annotations

__version__ = "0.1.0"
