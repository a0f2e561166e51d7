"""Pure functions over key bytes. Nothing here draws randomness, does I/O, keeps state or knows a protocol."""
