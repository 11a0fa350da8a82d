"""One module per outside party, and a simulated one beside each; only compose names them."""
