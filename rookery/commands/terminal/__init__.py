"""`rookery chat`: a chat in the terminal."""
