"""ws-factory-exporter: real WebSocket sessions as real test users, told to Prometheus."""

__version__ = "0.1.0"
