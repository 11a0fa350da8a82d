"""The issuer processor, which makes cards, and the card network, which asks for authorizations."""
