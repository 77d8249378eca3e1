"""What the tests of every kind use: servers, clients, clocks, cases."""
