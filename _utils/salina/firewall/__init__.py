"""ufw: its current rules, its wanted rules, and the steps between them."""
