"""Frames, TLS and peers: carries opaque payloads between members."""
