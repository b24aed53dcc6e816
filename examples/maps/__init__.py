"""Pictures of terrain and the cheapest way through each: the published layout, and a generator."""

from .generator import Generator as Generator
from .layout import PIXELS_PER_CELL as PIXELS_PER_CELL, Maps as Maps, read as read
