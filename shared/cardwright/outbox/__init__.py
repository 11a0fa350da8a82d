"""Events commit with the change they tell of; a relay hands them to the queue."""
