"""Cores: state machines that take events, bytes, `now` and entropy, and return effects. No I/O, no clocks, no key bytes."""
