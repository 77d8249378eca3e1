//! The cases of asgi_cases.py on two Rust libraries: layers LIBRARY PORT. SIGTERM is axum's graceful shutdown, as its
//! example shows; tungstenite has none.

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use futures_util::{SinkExt, StreamExt};
use std::future::pending;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response as Accepted};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame as TungsteniteClose, WebSocketConfig};
use tokio_tungstenite::tungstenite::Message as TungsteniteMessage;
use tokio_tungstenite::WebSocketStream;

const LIMIT: usize = 1024;
const CASES: [&str; 9] = [
    "raises-after",
    "raises-on-message",
    "returns-after",
    "returns-on-message",
    "closes-4401",
    "closes-1011",
    "echo",
    "silent",
    "deaf",
];

/// What a case needs of a library.
trait Socket {
    async fn read(&mut self) -> Option<String>;
    async fn write(&mut self, text: String);
    async fn close(&mut self, code: u16, reason: &'static str);
}

impl Socket for WebSocket {
    async fn read(&mut self) -> Option<String> {
        while let Some(Ok(message)) = self.recv().await {
            if let Message::Text(text) = message {
                return Some(text.to_string());
            }
        }
        None
    }
    async fn write(&mut self, text: String) {
        let _ = self.send(Message::Text(text.into())).await;
    }
    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = self.send(Message::Close(Some(frame))).await;
    }
}

impl Socket for WebSocketStream<TcpStream> {
    async fn read(&mut self) -> Option<String> {
        while let Some(Ok(message)) = self.next().await {
            if let TungsteniteMessage::Text(text) = message {
                return Some(text.to_string());
            }
        }
        None
    }
    async fn write(&mut self, text: String) {
        let _ = self.send(TungsteniteMessage::Text(text.into())).await;
    }
    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = TungsteniteClose { code: CloseCode::from(code), reason: reason.into() };
        let _ = self.send(TungsteniteMessage::Close(Some(frame))).await;
    }
}

async fn play(case: &str, mut socket: impl Socket) {
    match case {
        "raises-after" => panic!("broken after it accepted"),
        "raises-on-message" => {
            socket.read().await;
            panic!("broken by a message")
        }
        "returns-on-message" => {
            socket.read().await;
        }
        "closes-4401" => {
            socket.close(4401, "bad token").await;
            socket.read().await;
        }
        "closes-1011" => {
            socket.read().await;
            socket.close(1011, "broken").await;
            socket.read().await;
        }
        "echo" => {
            while let Some(text) = socket.read().await {
                socket.write(text).await;
            }
        }
        "silent" => {
            while socket.read().await.is_some() {
                println!("got");
            }
        }
        "deaf" => {
            socket.read().await;
            pending::<()>().await
        }
        _ => {}
    }
}

/// What comes before the upgrade: the status of a refusal, if the case has one.
fn refusal(case: &str) -> Option<u16> {
    match case {
        "refuses" => Some(403),
        "refuses-401" => Some(401),
        "raises-before" => panic!("broken before it accepted"),
        _ => (!CASES.contains(&case)).then_some(404),
    }
}

async fn open(Path(case): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    match refusal(&case) {
        Some(status) => StatusCode::from_u16(status).unwrap().into_response(),
        None => upgrade.max_message_size(LIMIT).on_upgrade(|socket| async move { play(&case, socket).await }),
    }
}

async fn axum_server(listener: TcpListener) {
    let routes = Router::new().route("/ready", get(|| async { "ready" })).route("/{case}", get(open));
    let stopped = async { signal(SignalKind::terminate()).unwrap().recv().await.unwrap() };
    axum::serve(listener, routes).with_graceful_shutdown(stopped).await.unwrap();
}

/// tungstenite answers no plain request, by which the tests see that the program has started.
async fn is_ready_check(stream: &mut TcpStream) -> bool {
    let mut beginning = [0; 16];
    let read = stream.peek(&mut beginning).await.unwrap_or(0);
    let asks = beginning[..read].starts_with(b"GET /ready ");
    if asks {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    }
    asks
}

async fn tungstenite_peer(mut stream: TcpStream) {
    if is_ready_check(&mut stream).await {
        return;
    }
    let mut case = String::new();
    let opens = |request: &Request, accepted: Accepted| -> Result<Accepted, ErrorResponse> {
        case = request.uri().path().trim_start_matches('/').to_string();
        let refused = |status| Accepted::builder().status(status).body(None).unwrap();
        refusal(&case).map_or(Ok(accepted), |status| Err(refused(status)))
    };
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT));
    if let Ok(socket) = tokio_tungstenite::accept_hdr_async_with_config(stream, opens, Some(config)).await {
        play(&case, socket).await
    }
}

async fn tungstenite_server(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(tungstenite_peer(stream));
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let listener = TcpListener::bind(format!("127.0.0.1:{}", arguments[2])).await.unwrap();
    match arguments[1].as_str() {
        "axum" => axum_server(listener).await,
        _ => tungstenite_server(listener).await,
    }
}
