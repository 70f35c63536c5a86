"""What the BFF and the messaging service both stand on: it imports neither of them."""
