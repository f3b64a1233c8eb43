"""Shattering: why do networks that can fit pure noise generalise at all, and does yours?"""

__version__ = "0.1.0"
