"""Devices: one module per kind of QKD device."""
