"""Networks and the backbones under them."""
