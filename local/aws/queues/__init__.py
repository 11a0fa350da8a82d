"""A durable twin of Amazon SQS standard queues, speaking its JSON protocol."""
