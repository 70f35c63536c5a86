"""The OpenAPI document and the page `/docs`, both made from the routes."""
