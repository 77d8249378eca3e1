module backends

go 1.22

require (
	github.com/coder/websocket v1.8.13
	github.com/gorilla/websocket v1.5.3
)
