"""Stores: one sub-package or module per backend, and the anchor file that stands outside all of them."""
