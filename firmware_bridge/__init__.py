"""Bytes and devices: links, instruments, ports."""
