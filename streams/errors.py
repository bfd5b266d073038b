"""The errors that a person sees as one line, each with the exit code of its kind."""


class SpendError(Exception):
    """Something a person can mend: the message says what is wrong and which setting or command mends it."""

    exit_code = 2


class Halt(SpendError):
    """The pipeline stops rather than lose or double anything: a hole in a log, a position that is gone, poison."""

    exit_code = 3


class Unreachable(SpendError):
    """A server that is needed does not answer."""

    exit_code = 4
