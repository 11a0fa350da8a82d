"""The local stand-in for API Gateway and Lambda: HTTP in, the real handlers' events out, AWS's own limits enforced."""
