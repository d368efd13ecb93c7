"""What a web worker believes about its database."""

__all__ = ["Health"]


class Health:
    """Whether this process believes that the database answers.

    One failed commit and it does not; recovery finds out when it does again. So meanwhile nobody waits for a budget
    to run out.
    """

    def __init__(self) -> None:
        self.away = False
