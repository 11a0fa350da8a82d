"""Who people are: registration, passwords, second factors, sessions and the tokens that stand for them."""
