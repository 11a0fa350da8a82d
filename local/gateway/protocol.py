"""The HTTP/1.1 protocol of the gateway: what cannot be parsed is answered with a problem, like everything else."""

from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from local.gateway.problems import problem


class ProblemProtocol(HttpToolsProtocol):
    """uvicorn's protocol with another answer to bytes that are no HTTP request."""

    def send_400_response(self, msg: str) -> None:
        """Answer 400 and close; `msg` is uvicorn's word for what was wrong and tells a client no more than the code."""
        answer = problem(400, "invalid_request", "The request is not valid HTTP/1.1.", str(uuid4()))
        lines = [
            b"HTTP/1.1 400 Bad Request",
            *(name + b": " + value for name, value in answer.headers),
            b"content-length: %d" % len(answer.body),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + answer.body)
        self.transport.close()
