"""Simulated cloud over real HTTP: an identity service (Keystone v3 subset) and CSS, with faults.

Everything it serves identifies it as a simulator. It imports nothing from the product, so that it
cannot share the product's errors. It implements the facts in docs/css-api.md.
"""

from __future__ import annotations

__version__ = "0.1.0"
