"""Pure functions over key bytes. Nothing here does I/O, keeps state or knows a protocol.

Nor does anything here draw randomness, but for ML-KEM's encapsulation: its library does that by itself (`hybrid`).
"""
