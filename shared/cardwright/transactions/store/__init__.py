"""SQL of card transactions, a module a subject: history, the rows as events."""
