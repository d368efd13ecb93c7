"""Actions are asked before they are done: on a page of its own that says what will happen."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.console.rendering import rendered

__all__ = ["Field", "Question", "ask"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """What is to be filled in; with `choices` it is chosen."""

    name: str
    label: str
    value: str = ""
    choices: Sequence[tuple[str, str]] = ()  # value and words
    is_required: bool = True


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be confirmed.

    Attributes:
        title: the action, as its button has it.
        consequence: what will happen.
        about: what it is about, line by line.
        to: URL that the form goes to.
        back: URL of where nothing happens.
        hidden: names and values that go with it.
        fields: to be filled in.
        is_grave: whether it cannot simply be taken back.
    """

    title: str
    consequence: str
    to: str
    back: str
    about: Sequence[str] = ()
    hidden: Sequence[tuple[str, object]] = ()
    fields: Sequence[Field] = ()
    is_grave: bool = False


def ask(question: Question) -> str:
    """The page."""
    return rendered("ask.html", question=question)
