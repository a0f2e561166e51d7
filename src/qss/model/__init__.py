"""The words of the field as frozen value types, and the error tree. Nothing here does I/O or knows a protocol."""
