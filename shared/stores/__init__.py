"""The stores: a protocol for each, with a twin for each engine. `accounts` keeps users and sign-ins, `chats` history."""
