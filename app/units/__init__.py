"""One unit: its story, a copy of all that is stored about it, and the end of that."""

from app.units.shapes import UnitStory
from app.units.story import Asked, unit_story

__all__ = ["Asked", "UnitStory", "unit_story"]
