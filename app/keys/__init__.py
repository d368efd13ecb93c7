"""What operators do about API keys: make, list, rotate and revoke them. `app/auth.py` is what requests ask."""

from app.keys.changes import Wanted, add_key, create, ensure_key, listed, revoke, rotate

__all__ = ["Wanted", "add_key", "create", "ensure_key", "listed", "revoke", "rotate"]
