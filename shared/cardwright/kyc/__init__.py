"""Know your customer: submissions to a provider, and its outcomes."""
