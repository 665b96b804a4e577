"""What the demo and the tests run on: real services, found or fetched without root."""
