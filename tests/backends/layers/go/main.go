// The cases of asgi_cases.py on four Go libraries: layers LIBRARY PORT. SIGTERM is http.Server.Shutdown, as its
// documentation shows, and then the end of main.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

const limit = 1024

// socket is what a case needs of a library.
type socket interface {
	read() (string, bool)
	write(string)
	close(code int, reason string)
}

var forever = make(chan struct{})

var cases = map[string]func(socket){
	"/raises-after":       func(socket) { panic("broken after it accepted") },
	"/raises-on-message":  func(s socket) { s.read(); panic("broken by a message") },
	"/returns-after":      func(socket) {},
	"/returns-on-message": func(s socket) { s.read() },
	"/closes-4401":        func(s socket) { s.close(4401, "bad token"); s.read() },
	"/closes-1011":        func(s socket) { s.read(); s.close(1011, "broken"); s.read() },
	"/echo": func(s socket) {
		for message, open := s.read(); open; message, open = s.read() {
			s.write(message)
		}
	},
	"/silent": func(s socket) {
		for _, open := s.read(); open; _, open = s.read() {
			fmt.Println("got")
		}
	},
	"/deaf": func(s socket) { s.read(); <-forever },
}

var statuses = map[string]int{"/ready": 200, "/refuses": 403, "/refuses-401": 401}

// served answers what comes before the upgrade, and lets a library open the WebSocket of a case.
func served(open func(http.ResponseWriter, *http.Request, func(socket))) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		if status, known := statuses[request.URL.Path]; known {
			response.WriteHeader(status)
			return
		}
		if request.URL.Path == "/raises-before" {
			panic("broken before it accepted")
		}
		if one, known := cases[request.URL.Path]; known {
			open(response, request, one)
			return
		}
		http.NotFound(response, request)
	}
}

type gorilla struct{ *websocket.Conn }

func (s gorilla) read() (string, bool) {
	_, data, err := s.ReadMessage()
	return string(data), err == nil
}
func (s gorilla) write(text string) { s.WriteMessage(websocket.TextMessage, []byte(text)) }
func (s gorilla) close(code int, reason string) {
	s.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason))
}

func openGorilla(response http.ResponseWriter, request *http.Request, one func(socket)) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	connection, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	connection.SetReadLimit(limit)
	one(gorilla{connection})
}

type coders struct{ *coder.Conn }

func (s coders) read() (string, bool) {
	_, data, err := s.Read(context.Background())
	return string(data), err == nil
}
func (s coders) write(text string)             { s.Write(context.Background(), coder.MessageText, []byte(text)) }
func (s coders) close(code int, reason string) { s.Close(coder.StatusCode(code), reason) }

func openCoder(response http.ResponseWriter, request *http.Request, one func(socket)) {
	connection, err := coder.Accept(response, request, &coder.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer connection.CloseNow()
	connection.SetReadLimit(limit)
	one(coders{connection})
}

type gobwas struct{ net.Conn }

func (s gobwas) read() (string, bool) {
	data, _, err := wsutil.ReadClientData(s)
	return string(data), err == nil
}
func (s gobwas) write(text string) { wsutil.WriteServerText(s, []byte(text)) }
func (s gobwas) close(code int, reason string) {
	ws.WriteFrame(s, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
}

func openGobwas(response http.ResponseWriter, request *http.Request, one func(socket)) {
	connection, _, _, err := ws.UpgradeHTTP(request, response)
	if err != nil {
		return
	}
	defer connection.Close()
	one(gobwas{connection})
}

// gws calls a handler for each event: what a case does at once stands in OnOpen.
type events struct {
	gws.BuiltinEventHandler
	path string
}

func (e *events) OnOpen(connection *gws.Conn) {
	switch e.path {
	case "/raises-after":
		panic("broken after it accepted")
	case "/closes-4401":
		connection.WriteClose(4401, []byte("bad token"))
	}
}

func (e *events) OnMessage(connection *gws.Conn, message *gws.Message) {
	defer message.Close()
	switch e.path {
	case "/raises-on-message":
		panic("broken by a message")
	case "/closes-1011":
		connection.WriteClose(1011, []byte("broken"))
	case "/echo":
		connection.WriteMessage(message.Opcode, message.Bytes())
	case "/silent":
		fmt.Println("got")
	case "/deaf":
		<-forever
	}
}

func openGws(response http.ResponseWriter, request *http.Request, _ func(socket)) {
	options := &gws.ServerOption{ReadMaxPayloadSize: limit, Recovery: gws.Recovery}
	connection, err := gws.NewUpgrader(&events{path: request.URL.Path}, options).Upgrade(response, request)
	if err != nil {
		return
	}
	go connection.ReadLoop()
}

var libraries = map[string]func(http.ResponseWriter, *http.Request, func(socket)){
	"gorilla": openGorilla, "coder": openCoder, "gobwas": openGobwas, "gws": openGws,
}

func main() {
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[2], Handler: served(libraries[os.Args[1]])}
	stopped := make(chan struct{})
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		<-signals
		server.Shutdown(context.Background())
		close(stopped)
	}()
	server.ListenAndServe()
	<-stopped
}
