"""SQL of cards, a module a subject: cards, spend rows, issuances, batches, reveals, the comparison with the processor."""
