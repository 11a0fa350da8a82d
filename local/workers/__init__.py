"""What invokes functions without a request: queues through an SQS event source, schedules by the shared clock."""
