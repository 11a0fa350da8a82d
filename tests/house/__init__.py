"""The rules of the house: each is a small function over source text, tried on a planted violation and then on the tree."""
