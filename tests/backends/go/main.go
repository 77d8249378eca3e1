// The Go servers of the tests: gorilla/websocket with the write pump of its chat example, coder/websocket that says
// goodbye with 1001. backends PORT
package main

import (
	"net/http"
	"os"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"
)

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// pump writes a message and whatever has queued up meanwhile as one text message, a line each.
func pump(connection *websocket.Conn, queue chan []byte) {
	for message := range queue {
		writer, err := connection.NextWriter(websocket.TextMessage)
		if err != nil {
			return
		}
		writer.Write(message)
		for waiting := len(queue); waiting > 0; waiting-- {
			writer.Write([]byte{'\n'})
			writer.Write(<-queue)
		}
		if writer.Close() != nil {
			return
		}
	}
}

// hub echoes; a busy one puts three messages of others before each reply, while the pump is not looking.
func hub(busy bool) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		connection, err := upgrader.Upgrade(response, request, nil)
		if err != nil {
			return
		}
		defer connection.Close()
		for {
			_, message, err := connection.ReadMessage()
			if err != nil {
				return
			}
			queue := make(chan []byte, 8)
			if busy {
				for range 3 {
					queue <- []byte(`{"type": "news"}`)
				}
			}
			queue <- message
			close(queue)
			pump(connection, queue)
		}
	}
}

func goodbye(response http.ResponseWriter, request *http.Request) {
	connection, err := coder.Accept(response, request, &coder.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	kind, message, err := connection.Read(request.Context())
	if err != nil {
		return
	}
	connection.Write(request.Context(), kind, message)
	connection.Close(coder.StatusGoingAway, "goodbye")
}

func main() {
	http.HandleFunc("/ready", func(response http.ResponseWriter, _ *http.Request) { response.Write([]byte("ready")) })
	http.HandleFunc("/busy", hub(true))
	http.HandleFunc("/quiet", hub(false))
	http.HandleFunc("/goodbye", goodbye)
	http.ListenAndServe("127.0.0.1:"+os.Args[1], nil)
}
