"""What a fresh stack is given before its first request: keys, secrets, queues, role passwords, programs, people."""
