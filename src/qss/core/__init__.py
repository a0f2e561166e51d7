"""Cores: state machines that take events, `now` and entropy, and return effects. No I/O, no clock, no key bytes."""
