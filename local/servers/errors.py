"""The one error of the embedded servers."""


class ServerError(RuntimeError):
    """A server cannot be found, started or stopped; the message is one line and says how to mend it."""
