"""The product's version: the one place. CONTRIBUTING.md says how a release is made."""

VERSION = "0.1.0"
