"""The stores: a protocol for each, a twin for each engine. `accounts` keeps users and sign-ins, `chats` history."""
