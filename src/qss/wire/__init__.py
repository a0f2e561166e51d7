"""Codecs: bytes to typed messages and back, with every limit. What a message means is decided elsewhere."""
