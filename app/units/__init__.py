"""One unit: its story, a copy of all that is stored about it, and the end of that."""

from app.units.erase import Erased, erase_unit
from app.units.export import export_unit
from app.units.shapes import UnitStory
from app.units.story import Asked, unit_story

__all__ = ["Asked", "Erased", "UnitStory", "erase_unit", "export_unit", "unit_story"]
