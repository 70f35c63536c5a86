"""The foundations of the BFF and of the messaging service. It imports neither of them."""
