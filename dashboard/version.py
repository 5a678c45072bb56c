"""Version of the product, defined only here. CONTRIBUTING.md describes how to make a release."""

VERSION = "0.1.0"
