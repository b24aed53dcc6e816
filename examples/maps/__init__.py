"""Pictures of terrain and the cheapest way through each: the published layout, and a generator."""

from .generator import Generator as Generator
from .layout import Maps as Maps, read as read
