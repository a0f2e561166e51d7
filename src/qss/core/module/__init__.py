"""The QKD module: one device, its key stream, and Sync with its peer; sees block numbers and tags, never key bytes."""
