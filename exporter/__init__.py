"""ws-factory-exporter: opens real WebSocket sessions as real test users, and reports them to Prometheus."""

__version__ = "0.1.0"
