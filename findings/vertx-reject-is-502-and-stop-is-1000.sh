#!/usr/bin/env bash
# Memory says: a server that refuses a handshake answers 403 by default, and one that is closed says goodbye with 1001.
# Seen: Vert.x 5.2.3: ServerWebSocketHandshake.reject() answers 502 with the body `Bad Gateway`, and close() of its HTTP server
#   closes the open WebSockets with 1000 and no text.
# Why it matters: a refused token is looked for at the load balancer, and a deploy looks like sessions that ended by themselves.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>io.vertx</groupId><artifactId>vertx-core</artifactId><version>5.2.3</version></dependency>
  </dependencies>
</project>
XML
mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
cat > Try.java <<'JAVA'
import io.vertx.core.Vertx;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;

class Try {
  static CompletableFuture<WebSocket> opening(int port, String path, CompletableFuture<String> closed) {
    var listener = new WebSocket.Listener() {
      public CompletableFuture<?> onClose(WebSocket ws, int status, String reason) {
        closed.complete(status + " '" + reason + "'");
        return null;
      }
    };
    return HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create("ws://127.0.0.1:" + port + path), listener);
  }

  public static void main(String[] arguments) throws Exception {
    var vertx = Vertx.vertx();
    var server = vertx.createHttpServer()
        .webSocketHandshakeHandler(handshake -> {
          if (handshake.path().equals("/refused")) handshake.reject();
          else handshake.accept();
        })
        .webSocketHandler(ws -> {})
        .listen(0, "127.0.0.1").toCompletionStage().toCompletableFuture().get(30, TimeUnit.SECONDS);
    var closed = new CompletableFuture<String>();
    opening(server.actualPort(), "/", closed).get(30, TimeUnit.SECONDS);
    int status = 101;
    try {
      opening(server.actualPort(), "/refused", new CompletableFuture<>()).join();
    } catch (CompletionException refused) {
      status = ((WebSocketHandshakeException) refused.getCause()).getResponse().statusCode();
    }
    server.close();
    String code = closed.get(30, TimeUnit.SECONDS);
    System.out.println("reject() is " + status + ", close() is " + code);
    System.exit(status == 502 && code.equals("1000 ''") ? 0 : 1);
  }
}
JAVA
java -cp 'lib/*' Try.java
