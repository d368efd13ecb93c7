"""A client of Croupier: recommendations that always come, and feedback that arrives once."""

from croupier_client.client import Client
from croupier_client.errors import Away, CroupierClientError, Refused
from croupier_client.outbox import Outbox
from croupier_client.shapes import Decision, Event, Item

__all__ = ["Away", "Client", "CroupierClientError", "Decision", "Event", "Item", "Outbox", "Refused"]
