"""An experiment's log as a file: for researchers, and for `croupier evaluate`."""

from app.export.log_file import export_log
from app.export.options import export_options

__all__ = ["export_log", "export_options"]
