"""The Quantum Software Stack: key management for quantum key distribution networks."""

__version__ = "0.1.0"
